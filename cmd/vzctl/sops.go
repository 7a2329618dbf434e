package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/agekeys"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// sopsKeys is the file with the keys for encrypted Secrets, if it is given.
type sopsKeys struct{ file string }

func (k *sopsKeys) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.file, "sops-age-key-file", "", "file of age identities, to decrypt Secrets of SOPS too; without it their values are not looked at")
}

// keys returns nil if there are none.
func (k *sopsKeys) keys() (manifests.Keys, error) {
	if k.file == "" {
		return nil, nil
	}
	file := agekeys.File(k.file)
	if err := file.Check(); err != nil {
		return nil, fmt.Errorf("--sops-age-key-file: %w", err)
	}
	return file, nil
}
