package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// errKilled says that a program was ended from outside.
var errKilled = errors.New("killed")

// program runs until it ends by itself, with its exit code, or until it is
// ended from outside, with an error.
type program func(*shell) (code int, err error)

// shell is what a program runs in.
type shell struct {
	ctx            context.Context //nolint:containedctx // the life of the process
	rt             *Runtime
	p              *process
	stdin          *input
	stdout, stderr io.Writer
	exiting        bool
	// done is how many steps were made when it was saved, skipped how many of them
	// it has come by again.
	done, skipped int
}

// parse returns the program for a command.
func parse(args []string, init bool) (program, error) {
	name := path.Base(args[0])
	if name == "sh" && len(args) == 3 && args[1] == "-c" {
		s := &script{tokens: tokens(args[2])}
		prog, err := s.list("")
		if err != nil {
			return nil, fmt.Errorf("%w: the fake's shell: %w", drivers.ErrInvalidArgument, err)
		}
		return prog, nil
	}
	if prog := command(name, args[1:]); prog != nil {
		return prog, nil
	}
	if init {
		return server(args), nil
	}
	return nil, fmt.Errorf("%q: %w: the fake has no such program", args[0], drivers.ErrNotFound)
}

// server says what it is and runs until it is ended.
func server(args []string) program {
	return func(sh *shell) (int, error) {
		_, _ = sh.step(func(sh *shell) (int, error) { return sh.print("fake: " + strings.Join(args, " ")) })
		<-sh.ctx.Done()
		return 0, errKilled
	}
}

// command returns a single command, nil if there is none of that name.
func command(name string, args []string) program {
	switch name {
	case "true", ":":
		return func(*shell) (int, error) { return 0, nil }
	case "false":
		return func(*shell) (int, error) { return 1, nil }
	case "exit":
		return func(sh *shell) (int, error) {
			sh.exiting = true
			code, err := strconv.Atoi(sh.expand(strings.Join(args, "")))
			if err != nil {
				return 2, nil //nolint:nilerr // as a shell does
			}
			return code, nil
		}
	case "echo":
		return func(sh *shell) (int, error) { return sh.echo(args) }
	case "cat":
		return (*shell).cat
	case "sleep":
		return func(sh *shell) (int, error) { return sh.sleep(args) }
	case "stty":
		return (*shell).size
	case "printenv":
		return func(sh *shell) (int, error) { return sh.printenv(args) }
	case "pwd":
		return func(sh *shell) (int, error) {
			dir := sh.p.spec.WorkingDir
			if dir == "" {
				dir = "/"
			}
			return sh.print(dir)
		}
	case "read":
		return func(sh *shell) (int, error) { return sh.read(args) }
	case "nc":
		return func(sh *shell) (int, error) { return sh.listen(args) }
	case "trap":
		return func(sh *shell) (int, error) { return sh.trap(args) }
	}
	return nil
}

func (sh *shell) print(line string) (int, error) {
	_, err := io.WriteString(sh.stdout, line+"\n")
	return sh.written(err)
}

// written is the end of a program that writes to nobody, as SIGPIPE brings it about.
func (sh *shell) written(err error) (int, error) {
	switch {
	case sh.ctx.Err() != nil:
		return 0, errKilled
	case err != nil:
		sh.exiting = true
		return 128 + sigPipe, nil //nolint:nilerr // the exit code tells
	default:
		return 0, nil
	}
}

func (sh *shell) echo(args []string) (int, error) {
	out := sh.stdout
	if n := len(args); n > 0 && args[n-1] == ">&2" {
		args, out = args[:n-1], sh.stderr
	}
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = sh.expand(a)
	}
	_, err := io.WriteString(out, strings.Join(words, " ")+"\n")
	return sh.written(err)
}

func (sh *shell) cat() (int, error) {
	for {
		b, err := sh.stdin.read(sh.ctx)
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return 0, errKilled
		}
		_, err = sh.stdout.Write(b)
		if code, err := sh.written(err); code != 0 || err != nil {
			return code, err
		}
	}
}

func (sh *shell) sleep(args []string) (int, error) {
	seconds, err := strconv.ParseFloat(strings.Join(args, ""), 64)
	if err != nil {
		sh.exiting = true // A loop around a sleep that is none would spin.
		return 1, nil     //nolint:nilerr // as the program does
	}
	const longest = 1 << 30 // "infinity" is a number too
	t := time.NewTimer(time.Duration(min(seconds, longest) * float64(time.Second)))
	defer t.Stop()
	select {
	case <-t.C:
		return 0, nil
	case <-sh.ctx.Done():
		return 0, errKilled
	}
}

func (sh *shell) size() (int, error) {
	sh.rt.mu.Lock()
	size := sh.p.size
	sh.rt.mu.Unlock()
	return sh.print(fmt.Sprintf("%d %d", size.Height, size.Width))
}

func (sh *shell) printenv(args []string) (int, error) {
	for _, name := range args {
		v, ok := sh.lookup(name)
		if !ok {
			return 1, nil
		}
		if code, err := sh.print(v); code != 0 || err != nil {
			return code, err
		}
	}
	return 0, nil
}

func (sh *shell) lookup(name string) (string, bool) {
	if v, ok := sh.p.memory.Vars[name]; ok {
		return v, true
	}
	for _, e := range sh.p.spec.Env {
		if e.Name != name {
			continue
		}
		if e.Secret != "" {
			return string(sh.rt.secrets[e.Secret]), true
		}
		return e.Value, true
	}
	return "", false
}

// expand replaces a word that is a variable.
func (sh *shell) expand(word string) string {
	name, ok := strings.CutPrefix(word, "$")
	if !ok {
		return word
	}
	v, _ := sh.lookup(name)
	return v
}

// read reads a line into a variable; at the end of the input it fails.
func (sh *shell) read(args []string) (int, error) {
	var line []byte
	for {
		b, err := sh.stdin.read(sh.ctx)
		if errors.Is(err, io.EOF) {
			return 1, nil
		}
		if err != nil {
			return 0, errKilled
		}
		text, rest, found := bytes.Cut(b, []byte("\n"))
		line = append(line, text...)
		if found {
			sh.stdin.rest = rest
			break
		}
	}
	for _, name := range args {
		sh.set(name, string(line))
	}
	return 0, nil
}

// set sets a variable, of which this goroutine is the only one to write.
func (sh *shell) set(name, value string) {
	sh.rt.mu.Lock()
	defer sh.rt.mu.Unlock()
	if sh.ctx.Err() != nil {
		return
	}
	if sh.p.memory.Vars == nil {
		sh.p.memory.Vars = map[string]string{}
	}
	sh.p.memory.Vars[name] = value
}

// assignment returns the command NAME=WORD or NAME=$((NAME+1)), nil if it is none.
func assignment(word string) program {
	name, value, ok := strings.Cut(word, "=")
	if !ok || name == "" || strings.ContainsAny(name, "$/.") {
		return nil
	}
	if counter, ok := strings.CutSuffix(strings.TrimPrefix(value, "$(("), "+1))"); ok {
		return func(sh *shell) (int, error) {
			text, _ := sh.lookup(counter)
			n, _ := strconv.Atoi(text) // what is no number counts as none
			sh.set(name, strconv.Itoa(n+1))
			return 0, nil
		}
	}
	return func(sh *shell) (int, error) {
		sh.set(name, sh.expand(value))
		return 0, nil
	}
}

// ignored is a trap that does nothing.
const ignored = -1

// trap makes a signal end the program with a code, trap 'exit 7' TERM, or do
// nothing, trap ” TERM.
func (sh *shell) trap(args []string) (int, error) {
	signals := map[string]int{"INT": sigInt, "TERM": sigTerm}
	if len(args) != 2 {
		return 2, nil
	}
	code, signal := ignored, signals[args[1]]
	if args[0] != "" {
		var err error
		if code, err = strconv.Atoi(strings.TrimPrefix(args[0], "exit ")); err != nil {
			return 2, nil //nolint:nilerr // as a shell does
		}
	}
	if signal == 0 {
		return 2, nil
	}
	sh.rt.mu.Lock()
	defer sh.rt.mu.Unlock()
	if sh.p.traps == nil {
		sh.p.traps = map[int]int{}
	}
	sh.p.traps[signal] = code
	return 0, nil
}
