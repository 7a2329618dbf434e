package events

import (
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// Types of event.
const (
	Normal  = "Normal"
	Warning = "Warning"
)

// Event is something that happened to an object, once or several times.
type Event struct {
	Object manifests.Key `json:"object"`
	// Type is Normal or Warning.
	Type string `json:"type"`
	// Reason is one word in CamelCase, for programs; Message is for people.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Count is how often it happened, first and last at the given times.
	Count     int32     `json:"count"`
	FirstTime time.Time `json:"firstTime"`
	LastTime  time.Time `json:"lastTime"`
}

// Filter chooses events by their object; an empty field fits all.
type Filter struct {
	Kind, Namespace, Name string
}

// Fits reports whether the filter chooses the events of an object.
func (f Filter) Fits(key manifests.Key) bool {
	return (f.Kind == "" || f.Kind == key.Kind) &&
		(f.Namespace == "" || f.Namespace == key.Namespace) &&
		(f.Name == "" || f.Name == key.Name)
}

// identity is what makes two events the same one, happening again.
type identity struct {
	object               manifests.Key
	typ, reason, message string
}

func (e Event) identity() identity {
	return identity{e.Object, e.Type, e.Reason, e.Message}
}
