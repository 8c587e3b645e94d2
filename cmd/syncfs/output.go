package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// message is one JSON line of long work or of an error; message_type says what
// it is.
type message map[string]any

// addJSON gives a reading command its --json.
func (e *env) addJSON(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&e.json, "json", false, "print JSON for programs")
}

// jsonLine writes v on one line.
func (e *env) jsonLine(w io.Writer, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot happen: what is printed is made of plain values
	}
	fmt.Fprintf(w, "%s\n", data)
}

// document writes a list or an object as one JSON document. A nil slice must
// not be given: it would print null.
func (e *env) document(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes aligned columns.
type table struct {
	w    *tabwriter.Writer
	rows int
}

// newTable begins a table with its heading; no heading when it is empty.
func (e *env) newTable(heading ...string) *table {
	t := &table{w: tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)}
	if len(heading) > 0 {
		fmt.Fprintln(t.w, strings.Join(heading, "\t"))
	}
	return t
}

func (t *table) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		if painted, ok := c.(painted); ok {
			text[i] = string(painted)
			continue
		}
		text[i] = clean(fmt.Sprint(c))
	}
	fmt.Fprintln(t.w, strings.Join(text, "\t"))
	t.rows++
}

// painted is a cell with colour codes of ours in it.
type painted string

func (t *table) flush() error { return t.w.Flush() }

// clean makes a name safe for a terminal and for one line: control characters
// are written as \xNN. Bytes that are no UTF-8 stay as they are.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// size writes a number of bytes for people.
func size(n int64) string {
	if n < 1024 && n > -1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n), "KMGTPE"
	i := -1
	for math.Abs(v) >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}

// count writes "1 file", "2 files".
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// age writes how long ago something was, for people.
func age(d time.Duration) string {
	switch {
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// rfc3339 is the one spelling of a time in JSON.
func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
