package containerbackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// dumpEnd is how much of a dump's end is looked at.
const dumpEnd = 1 << 10

// dump has a container's database dumped by its own tools, into the tree.
func (b *backup) dump(ctx context.Context, m *member) error {
	d := dialects()[m.base.kind]
	saved := SavedDatabase{Service: m.service, Container: m.name(), Kind: m.base.kind, Version: m.base.version, Dir: m.base.dir}
	var names []string
	if d.list != "" {
		out, err := b.e.output(ctx, m.inspect.ID, command{args: d.script(d.list), user: m.wishes.User})
		if err != nil {
			return notLetIn(m, m.base.kind, err)
		}
		names = strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
	}
	for _, s := range d.dumps {
		of := []string{""}
		if s.each {
			of = names
		}
		for _, name := range of {
			one, err := b.dumpOne(ctx, m, s, name)
			if err != nil {
				return err
			}
			saved.Dumps = append(saved.Dumps, one)
		}
	}
	b.info.Databases = append(b.info.Databases, saved)
	return nil
}

// dumpOne streams one dump into the tree. A program that fails, and one that ends
// before its dump is whole, fail the backup.
func (b *backup) dumpOne(ctx context.Context, m *member, s dumpScript, name string) (SavedDump, error) {
	file := s.file
	if s.each {
		file = fmt.Sprintf(s.file, url.PathEscape(name)) // a database may be called anything
	}
	one := SavedDump{Database: name, File: path.Join("databases", m.name(), file), Started: b.o.Now().UTC()}
	what := m.base.kind + " of " + m.name()
	if name != "" {
		what += ", database " + name
	}
	b.o.Note("dump %s", what)
	r, w := io.Pipe()
	end := &tail{max: dumpEnd}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := b.e.exec(ctx, m.inspect.ID, command{
			args: dialects()[m.base.kind].script(s.run, name), user: m.wishes.User, stdout: io.MultiWriter(w, end),
		})
		if err == nil && !whole(s, end) {
			err = errors.New("it ends early")
		}
		if err != nil {
			err = fmt.Errorf("%w: %s: %w", ErrDump, what, err)
		}
		w.CloseWithError(err) // nil is the end
		return err
	})
	g.Go(func() error {
		e, err := b.tree.write(ctx, one.File, r)
		r.CloseWithError(err)
		one.Bytes = e.Size
		return err
	})
	if err := g.Wait(); err != nil {
		return SavedDump{}, err
	}
	one.Ended = b.o.Now().UTC()
	return one, nil
}

// whole tells whether a dump has its end.
func whole(s dumpScript, end *tail) bool {
	// Every byte a letter: a dump need not be UTF-8.
	text := make([]rune, 0, dumpEnd)
	for _, b := range []byte(end.String()) {
		text = append(text, rune(b))
	}
	return regexp.MustCompile(s.ends).MatchString(string(text))
}

// theDump places the dump of a project's one database where scripts look for it.
func (b *backup) theDump() {
	var found []SavedDump
	for _, d := range b.info.Databases {
		for _, one := range d.Dumps {
			// Every server has one of this name that hardly anybody uses.
			if strings.HasSuffix(one.File, ".sql") && (one.Database != "" || d.Kind != postgres) && !(d.Kind == postgres && one.Database == "postgres") {
				found = append(found, one)
			}
		}
	}
	if len(found) != 1 {
		return
	}
	if e, ok := b.tree.at(found[0].File); ok {
		sum, _ := b.tree.sums.get(found[0].File)
		b.tree.file(dumpName, &e, sum)
	}
}

// runHook runs what a label asks for, in its container.
func (b *backup) runHook(ctx context.Context, m *member, word, script string) error {
	if script == "" || m.wishes.Skip {
		return nil
	}
	if !m.running() {
		return fmt.Errorf("label %s.%s of container %s: it does not run", prefixShort, word, m.name())
	}
	b.o.Note("%s hook of %s", word, m.name())
	ctx, cancel := context.WithTimeoutCause(ctx, m.wishes.Timeout, fmt.Errorf("it took longer than %s", m.wishes.Timeout.Round(time.Second)))
	defer cancel()
	_, err := b.e.exec(ctx, m.inspect.ID, command{args: []string{"sh", "-c", script}, user: m.wishes.User})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("label %s.%s of container %s: %w", prefixShort, word, m.name(), err)
	}
	return nil
}
