package crilog

import (
	"bytes"
	"testing"
	"time"
)

func TestParseLine(t *testing.T) {
	at := time.Date(2026, 11, 23, 17, 51, 18, 123456789, time.UTC)
	tests := []struct {
		name, line string
		want       Line
		ok         bool
	}{
		{"whole", "2026-11-23T17:51:18.123456789Z stdout F hello world\n", Line{at, Stdout, false, []byte("hello world")}, true},
		{"without newline", "2026-11-23T17:51:18.123456789Z stderr F x", Line{at, Stderr, false, []byte("x")}, true},
		{"partial", "2026-11-23T17:51:18.123456789Z stdout P x\n", Line{at, Stdout, true, []byte("x")}, true},
		{"more tags", "2026-11-23T17:51:18.123456789Z stdout P:tag2 x\n", Line{at, Stdout, true, []byte("x")}, true},
		{"empty text", "2026-11-23T17:51:18.123456789Z stdout F \n", Line{at, Stdout, false, []byte{}}, true},
		{"no text", "2026-11-23T17:51:18.123456789Z stdout F\n", Line{at, Stdout, false, nil}, true},
		{"blanks kept", "2026-11-23T17:51:18.123456789Z stdout F   a  b \r\n", Line{at, Stdout, false, []byte("  a  b \r")}, true},
		{"zone", "2026-11-23T18:51:18.123456789+01:00 stdout F x\n", Line{at, Stdout, false, []byte("x")}, true},
		{"empty", "", Line{}, false},
		{"torn in the time", "2026-11-23T17:5", Line{}, false},
		{"torn in the stream", "2026-11-23T17:51:18.123456789Z std", Line{}, false},
		{"other stream", "2026-11-23T17:51:18.123456789Z stdin F x", Line{}, false},
		{"other tag", "2026-11-23T17:51:18.123456789Z stdout X x", Line{}, false},
		{"text", "[    0.000000] Linux version 6.1.0", Line{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseLine([]byte(tt.line))
			if (err == nil) != tt.ok {
				t.Fatalf("error %v, want ok=%t", err, tt.ok)
			}
			if !got.Time.Equal(tt.want.Time) || got.Stream != tt.want.Stream || got.Partial != tt.want.Partial || !bytes.Equal(got.Text, tt.want.Text) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte("2026-11-23T17:51:18.123456789Z stdout F hello\n"))
	f.Add([]byte("2026-11-23T17:51:18Z stderr P:x \n"))
	f.Add([]byte(" stdout F "))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseLine(data)
		if err != nil {
			return
		}
		// What was parsed can be written and parsed again, unless it holds newlines
		// or a year that the format has no room for.
		if bytes.ContainsRune(l.Text, '\n') || l.Time.UTC().Year() < 0 || l.Time.UTC().Year() > 9999 {
			return
		}
		again, err := ParseLine(l.Append(nil))
		if err != nil {
			t.Fatalf("%q became %q: %v", data, l.Append(nil), err)
		}
		if !again.Time.Equal(l.Time) || again.Stream != l.Stream || again.Partial != l.Partial || !bytes.Equal(again.Text, l.Text) {
			t.Fatalf("%+v became %+v", l, again)
		}
	})
}
