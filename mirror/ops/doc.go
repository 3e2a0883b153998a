// Package ops is what commands do to mirroring: pools and images are enabled and
// disabled, peers added by hand or by a token, images promoted, demoted and asked
// for again, mirror snapshots made, statuses read. It follows librbd's api/Mirror
// of Ceph 16.2 to 20.2; every function leaves in the cluster what `rbd mirror`
// leaves. Nothing here waits for the other site.
package ops

import (
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/rados"
)

// The reasons for which an operation is refused.
var (
	// ErrPoolDisabled: the pool or namespace is not mirrored.
	ErrPoolDisabled = fmt.Errorf("mirroring is not enabled for the pool: %w", rados.ErrInvalid)
	// ErrImageDisabled: the image is not mirrored.
	ErrImageDisabled = fmt.Errorf("mirroring is not enabled for the image: %w", rados.ErrInvalid)
	// ErrNotPrimary: only the primary image can do that.
	ErrNotPrimary = fmt.Errorf("image is not primary: %w", rados.ErrInvalid)
	// ErrPrimary: the image is primary already.
	ErrPrimary = fmt.Errorf("image is already primary: %w", rados.ErrInvalid)
	// ErrRemotePrimary: the image is primary at the other site, or its demotion has
	// not arrived here.
	ErrRemotePrimary = fmt.Errorf("image is primary within a remote cluster or demotion is not propagated yet: %w", rados.ErrBusy)
	// ErrJournalMode: the image is mirrored by its journal, not by snapshots.
	ErrJournalMode = fmt.Errorf("snapshot based mirroring is not enabled: %w", rados.ErrInvalid)
	// ErrJournalStays: the image is not mirrored any more, but keeps its journal.
	ErrJournalStays = errors.New("cannot disable journaling")
)

func notFound(err error) bool { return errors.Is(err, rados.ErrNotFound) }
