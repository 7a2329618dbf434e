package manifests

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "sigs.k8s.io/yaml/goyaml.v3"
)

// sopsMark begins a value that SOPS has encrypted.
const sopsMark = "ENC[AES256_GCM,"

// sopsNonce is the size of the nonces that SOPS uses.
const sopsNonce = 32

var sopsValue = regexp.MustCompile(`^ENC\[AES256_GCM,data:([^,]+),iv:([^,]+),tag:([^,]+),type:([a-z]+)\]$`)

// errNotSops means that a value is none that SOPS has encrypted.
var errNotSops = errors.New("not a value that SOPS has encrypted")

// openSops decrypts a value. context is what it is bound to: the names of the
// keys that lead to it.
func openSops(text string, key []byte, context string) (any, error) {
	parts := sopsValue.FindStringSubmatch(text)
	if parts == nil {
		return nil, errNotSops
	}
	var raw [3][]byte
	for i := range raw {
		var err error
		if raw[i], err = base64.StdEncoding.DecodeString(parts[i+1]); err != nil {
			return nil, errNotSops
		}
	}
	data, nonce, tag := raw[0], raw[1], raw[2]
	if len(nonce) != sopsNonce {
		return nil, errNotSops
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, sopsNonce)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, append(data, tag...), []byte(context))
	if err != nil {
		return nil, err
	}
	switch s := string(plain); parts[4] {
	case "str":
		return s, nil
	case "int":
		return strconv.ParseInt(s, 10, 64)
	case "float":
		return strconv.ParseFloat(s, 64)
	case "bool":
		return strconv.ParseBool(s)
	}
	return nil, fmt.Errorf("values of the type %s are not supported yet", parts[4])
}

// sopsBytes is what of a value goes into the MAC; nil for null.
func sopsBytes(v any, plain bool) []byte {
	switch v := v.(type) {
	case string:
		if at, ok := timestamp(v); ok && plain {
			if text, err := at.MarshalText(); err == nil {
				return text
			}
		}
		return []byte(v)
	case bool:
		if v {
			return []byte("True")
		}
		return []byte("False")
	case int64:
		return strconv.AppendInt(nil, v, 10)
	case uint64:
		return strconv.AppendUint(nil, v, 10)
	case float64:
		return strconv.AppendFloat(nil, v, 'f', -1, 64)
	}
	return nil
}

// timestamp reads text, without quotes, as YAML does if it is a time.
func timestamp(text string) (time.Time, bool) {
	if len(text) < len(time.DateOnly) || text[0] < '0' || text[0] > '9' {
		return time.Time{}, false
	}
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return time.Time{}, false
	}
	at, ok := v.(time.Time)
	return at, ok
}

// sopsRule says which values of a file are encrypted: those of whose keys, one on
// the way to the value, match.
type sopsRule struct {
	match func(key string) bool
	// matched values are encrypted, or all but they are.
	encrypts bool
}

func (s sopsRule) encrypted(path []string) bool {
	return slices.ContainsFunc(path, s.match) == s.encrypts
}

func suffixRule(suffix string, encrypts bool) sopsRule {
	return sopsRule{func(key string) bool { return strings.HasSuffix(key, suffix) }, encrypts}
}

func regexRule(pattern string, encrypts bool) (sopsRule, error) {
	const enough = 1 << 10
	if len(pattern) > enough {
		return sopsRule{}, errors.New("too long")
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return sopsRule{}, err
	}
	return sopsRule{re.MatchString, encrypts}, nil
}
