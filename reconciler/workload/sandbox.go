package workload

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// NoIndex is the index of a sandbox that has none.
const NoIndex = -1

// Sandbox is what a workload sees of a sandbox of its own, or of a pool that it
// claims one of.
type Sandbox struct {
	Name string
	UID  types.UID
	// Created is when it was first wanted.
	Created time.Time
	// Index is the completion index, or the ordinal; else NoIndex.
	Index int
	// Revision names the template that it is meant to be made from.
	Revision string
	// Ready says that it is as it is meant to be and its containers run; Since is
	// when that began.
	Ready bool
	Since time.Time
	// Restarts of its containers.
	Restarts int32
	// Finished says that it ran to its end, Failed how, At when.
	Finished, Failed bool
	At               time.Time
	// Deleting says that it is being removed.
	Deleting bool
	// Stalled says why it cannot get further without help.
	Stalled string
	// Conditions and PodIPs are its status's.
	Conditions []metav1.Condition
	PodIPs     []string
}

func (s *Sandbox) active() bool { return !s.Finished && !s.Deleting }

// Event is news about a workload.
type Event struct {
	Warning         bool
	Reason, Message string
}

// setCondition sets a condition and reports whether its status is news.
func setCondition(conditions *[]metav1.Condition, typ string, status metav1.ConditionStatus, reason, message string, now time.Time) bool {
	was := meta.FindStatusCondition(*conditions, typ)
	news := was == nil || was.Status != status
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: typ, Status: status, Reason: reason, Message: message, LastTransitionTime: seconds(now),
	})
	return news
}

// seconds is a time as statuses have it.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }

// earliest returns the earlier of two times of which a zero one does not count.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// setSummary sets Reconciling or Stalled, of which at most one is there, and only
// when true; state is empty for none.
func setSummary(conditions *[]metav1.Condition, state, reason, message string, now time.Time) {
	if state != "" {
		setCondition(conditions, state, metav1.ConditionTrue, reason, message, now)
	}
	*conditions = slices.DeleteFunc(*conditions, func(c metav1.Condition) bool {
		return c.Type != state && (c.Type == manifests.ConditionReconciling || c.Type == manifests.ConditionStalled)
	})
}
