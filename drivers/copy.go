package drivers

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// CopyInRequest says where an archive goes.
type CopyInRequest struct {
	Container string
	// Path is absolute in the container. Links in it are followed as a process in
	// the container would follow them.
	Path string
	// Unpack unpacks the archive into the directory at Path, which must be there.
	// Otherwise the archive holds one file or tree, whose entries all begin with
	// one name, or with "." when only the contents of a directory are meant; it
	// goes into the directory at Path if there is one, and else becomes Path.
	Unpack bool
	// KeepOwner keeps the archive's numeric owners; else all belongs to root.
	KeepOwner bool
	// Parents makes the directories above Path that are missing.
	Parents bool
}

// CopyOutRequest says what to pack.
type CopyOutRequest struct {
	Container string
	// Path is absolute in the container. When it ends in "/." the archive's
	// entries begin with ".", else with the last name of the path.
	Path string
	// FollowLink packs what a link at Path leads to, not the link.
	FollowLink bool
}

// maxPath is the longest path that Linux takes.
const maxPath = 4095

// CheckContainerPath returns an ErrInvalidArgument unless the path may be one in
// a container.
func CheckContainerPath(p string) error {
	var why error
	switch {
	case !path.IsAbs(p):
		why = errors.New("it is not absolute")
	case len(p) > maxPath:
		why = errors.New("it is too long")
	case strings.Contains(p, "\x00"):
		why = errors.New("it holds a zero byte")
	default:
		return nil
	}
	return fmt.Errorf("%w: path %.80q: %w", ErrInvalidArgument, p, why)
}
