package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
)

func (a *app) explainCmd() *cobra.Command {
	var (
		version   string
		recursive bool
	)
	cmd := &cobra.Command{
		Use:   "explain KIND[.FIELD…]",
		Short: "Show what the fields of a manifest are for, without a daemon",
		Long: `Show what a kind, or a field of it, is for, and which fields are below it. Fields
that are not shown are not supported here; those marked "no effect" may be written
and change nothing.`,
		Example: `  vzctl explain sandbox
  vzctl explain sandbox.spec.podTemplate.spec.containers
  vzctl explain pod.spec --recursive
  vzctl explain sandbox.spec --api-version agents.x-k8s.io/v1beta1`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeField,
		RunE: func(_ *cobra.Command, args []string) error {
			depth := 1
			if recursive {
				depth = -1
			}
			doc, err := explain(version, args[0], depth)
			if err != nil {
				return &usageError{err}
			}
			return a.showField(doc, recursive)
		},
	}
	cmd.Flags().StringVar(&version, "api-version", "", "apiVersion of the kind (default the first that has it)")
	cmd.Flags().BoolVar(&recursive, "recursive", false, "all fields below, by name")
	return cmd
}

// explain reads "KIND.FIELD.FIELD".
func explain(version, word string, depth int) (*manifests.FieldDoc, error) {
	kind, rest, more := strings.Cut(word, ".")
	if k, ok := findKind(kind); ok {
		kind = k.name
	}
	var path []string
	if more {
		path = strings.Split(rest, ".")
	}
	return manifests.Explain(version, kind, path, depth)
}

func (a *app) showField(doc *manifests.FieldDoc, recursive bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "KIND:     %s\nVERSION:  %s\n", doc.Kind, doc.APIVersion)
	if doc.Name != "" {
		fmt.Fprintf(&b, "\nFIELD:    %s\n", fieldLine(doc))
	}
	if text := fieldText(doc, "    "); text != "" {
		fmt.Fprintf(&b, "\nDESCRIPTION:\n%s", text)
	}
	if len(doc.Fields) > 0 {
		b.WriteString("\nFIELDS:\n")
		writeFields(&b, doc.Fields, "  ", recursive)
	}
	return a.printf("%s", b.String())
}

// fieldLine is "containers <[]Container> -required-".
func fieldLine(doc *manifests.FieldDoc) string {
	line := fmt.Sprintf("%s <%s>", doc.Name, doc.Type)
	if doc.Required {
		line += " -required-"
	}
	if doc.NoEffect {
		line += " -no effect-"
	}
	return line
}

func fieldText(doc *manifests.FieldDoc, indent string) string {
	text := paragraph(printer.Sanitize(doc.Description), indent)
	if len(doc.Enum) > 0 {
		text += paragraph("One of: "+strings.Join(doc.Enum, ", "), indent)
	}
	if doc.Default != "" {
		text += paragraph("Default: "+doc.Default, indent)
	}
	return text
}

func writeFields(b *strings.Builder, fields []*manifests.FieldDoc, indent string, recursive bool) {
	for _, f := range fields {
		fmt.Fprintf(b, "%s%s\n", indent, fieldLine(f))
		if recursive {
			writeFields(b, f.Fields, indent+"  ", true)
			continue
		}
		b.WriteString(cmp.Or(fieldText(f, indent+"  "), indent+"  <no description>\n"))
		b.WriteByte('\n')
	}
}

// lineWidth is how long lines of prose are.
const lineWidth = 80

// paragraph breaks text in lines.
func paragraph(text, indent string) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && len(line)+1+len(word) > lineWidth {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	if line != indent {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// completeField completes the next word of a path.
func completeField(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) > 0 {
		return nil, directive
	}
	at := strings.LastIndex(word, ".")
	if at < 0 {
		var words []string
		for _, k := range kinds() {
			words = append(words, k.name)
		}
		return words, directive
	}
	doc, err := explain("", word[:at], 1)
	if err != nil {
		return nil, directive
	}
	var words []string
	for _, f := range doc.Fields {
		words = append(words, word[:at+1]+f.Name)
	}
	return words, directive
}
