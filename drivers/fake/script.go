package fake

import (
	"fmt"
	"slices"
	"strings"
)

// script parses the little of sh that tests need: commands between ";", each
// with ">&2" or "& wait" after it, NAME=WORD and NAME=$((NAME+1)), and
// "while COMMAND; do LIST; done".
type script struct {
	tokens []string
}

// tokens splits a script into words and separators.
func tokens(text string) []string {
	var out []string
	var word strings.Builder
	begun := false
	end := func() {
		if begun {
			out = append(out, word.String())
			word.Reset()
			begun = false
		}
	}
	var quote rune
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, begun = c, true
		case c == ';' || c == '\n':
			end()
			out = append(out, ";")
		case c == ' ' || c == '\t':
			end()
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	end()
	return out
}

func (s *script) next() string {
	if len(s.tokens) == 0 {
		return ""
	}
	t := s.tokens[0]
	s.tokens = s.tokens[1:]
	return t
}

// list parses commands up to the word end.
func (s *script) list(end string) (program, error) {
	var progs []program
	for {
		for len(s.tokens) > 0 && s.tokens[0] == ";" {
			s.next()
		}
		if len(s.tokens) == 0 || s.tokens[0] == end {
			if s.next() != end {
				return nil, fmt.Errorf("%q is missing", end)
			}
			return sequence(progs), nil
		}
		prog, err := s.command()
		if err != nil {
			return nil, err
		}
		progs = append(progs, prog)
	}
}

func (s *script) command() (program, error) {
	if s.tokens[0] == "while" {
		return s.loop()
	}
	var words []string
	for len(s.tokens) > 0 && s.tokens[0] != ";" {
		words = append(words, s.next())
	}
	// "COMMAND & wait" is COMMAND in which traps work at once, as they do here.
	if i := slices.Index(words, "&"); i > 0 && slices.Equal(words[i:], []string{"&", "wait"}) {
		words = words[:i]
	}
	prog := command(words[0], words[1:])
	if prog == nil && len(words) == 1 {
		prog = assignment(words[0])
	}
	if prog == nil {
		return nil, fmt.Errorf("there is no command %q", words[0])
	}
	return func(sh *shell) (int, error) { return sh.step(prog) }, nil
}

func (s *script) loop() (program, error) {
	s.next()
	if len(s.tokens) == 0 || s.tokens[0] == ";" {
		return nil, fmt.Errorf("%q is missing its condition", "while")
	}
	condition, err := s.command()
	if err != nil {
		return nil, err
	}
	if s.next() != ";" || s.next() != "do" {
		return nil, fmt.Errorf("%q is missing", "do")
	}
	body, err := s.list("done")
	if err != nil {
		return nil, err
	}
	return func(sh *shell) (int, error) {
		for {
			code, err := condition(sh)
			if err != nil || sh.exiting {
				return code, err
			}
			if code != 0 {
				return 0, nil
			}
			if code, err = body(sh); err != nil || sh.exiting {
				return code, err
			}
			if sh.ctx.Err() != nil {
				return 0, errKilled
			}
		}
	}, nil
}

// sequence runs programs one after the other.
func sequence(progs []program) program {
	return func(sh *shell) (code int, err error) {
		for _, prog := range progs {
			if code, err = prog(sh); err != nil || sh.exiting {
				return code, err
			}
		}
		return code, nil
	}
}
