package main

import (
	"fmt"
	"strings"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// Levels of GitHub's annotations.
const (
	annotationError   = "error"
	annotationWarning = "warning"
	annotationNotice  = "notice"
)

// annotate writes a command to GitHub Actions that puts a message beside a line of
// a file.
func (a *app) annotate(level string, at manifests.Position, title, message string) error {
	var properties []string
	add := func(name, value string) {
		if value != "" {
			properties = append(properties, name+"="+annotationProperty(value))
		}
	}
	add("file", at.File)
	if at.Line > 0 {
		add("line", fmt.Sprint(at.Line))
		if at.Column > 0 {
			add("col", fmt.Sprint(at.Column))
		}
	}
	add("title", title)
	return a.printf("::%s %s::%s\n", level, strings.Join(properties, ","), annotationMessage(message))
}

// annotationMessage escapes what would end a message: GitHub decodes it.
func annotationMessage(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}

func annotationProperty(text string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(annotationMessage(text))
}

// withoutPosition is an error's text without the place, which goes elsewhere.
func withoutPosition(err *manifests.Error) string {
	bare := *err
	bare.Position = manifests.Position{}
	return strings.TrimPrefix(bare.Error(), ": ")
}
