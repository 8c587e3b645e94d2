package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/syncfs/syncfs/internal/config"
)

// Schedule is a command of this program that the agent repeats.
type Schedule struct {
	ID      string    `json:"id"`
	Every   string    `json:"every"` // a duration or a cron expression
	What    string    `json:"what"`  // for people: the path that is saved
	Args    [][]byte  `json:"args"`  // the command line, without the program; bytes need not be UTF-8
	Created time.Time `json:"created"`
	Last    *Ran      `json:"last,omitempty"`
	Next    time.Time `json:"next"` // when it is due
}

// Ran is how a command ended.
type Ran struct {
	Begun  time.Time `json:"begun"`
	Ended  time.Time `json:"ended"`
	Code   int       `json:"code"` // exit code
	Text   string    `json:"text"`
	Failed int       `json:"failed,omitempty"` // how often it has failed in a row
}

// Outcome is what a command tells of itself.
type Outcome struct {
	Code    int
	Text    string // one line for people
	Folder  string
	Instant string
}

// exitOffline is the exit code by which a command says that the remote could
// not be reached.
const exitOffline = 5

const (
	shortest = time.Minute      // between two runs
	lookAt   = time.Minute      // how often the clock is looked at: timers stand still while a machine sleeps
	retryMin = time.Minute      // after a run that did not reach the remote
	retryMax = 15 * time.Minute // the same, in the end
)

// ParseEvery reads a duration, such as 60m, or a cron expression.
func ParseEvery(every string) (next func(after time.Time) time.Time, err error) {
	var d config.Duration
	if d.Set(every) == nil {
		if time.Duration(d) < shortest {
			return nil, fmt.Errorf("--every %s: at most once a minute", every)
		}
		return func(after time.Time) time.Time { return after.Add(time.Duration(d)) }, nil
	}
	s, err := cron.ParseStandard(every)
	if err != nil {
		return nil, fmt.Errorf("--every %q is neither a duration such as 60m nor a cron expression such as \"15 3 * * *\": %w", every, err)
	}
	if s.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("--every %q: there is no such time", every)
	}
	return s.Next, nil
}

// schedulesJSON is the list as it lies on the disk.
type schedulesJSON struct {
	Format    int        `json:"format"`
	Schedules []Schedule `json:"schedules"`
}

// Schedules lists what the agent of this HOME repeats.
func Schedules(d config.Dirs) ([]Schedule, error) {
	var f schedulesJSON
	err := readJSON(schedulesFile(d), &f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && f.Format != fileFormat {
		err = fmt.Errorf("%s: format %d is not known", schedulesFile(d), f.Format)
	}
	return f.Schedules, err
}

// changeSchedules replaces the list by what fn makes of it.
func (a *Agent) changeSchedules(fn func([]Schedule) ([]Schedule, error)) error {
	a.schedules.Lock()
	defer a.schedules.Unlock()
	list, err := Schedules(a.o.Dirs)
	if err != nil {
		return err
	}
	if list, err = fn(list); err != nil {
		return err
	}
	return writeJSON(schedulesFile(a.o.Dirs), schedulesJSON{Format: fileFormat, Schedules: list})
}

// addSchedule makes the agent repeat a command, from now on. The same command
// gets another rhythm.
func (a *Agent) addSchedule(s Schedule) (Schedule, error) {
	if _, err := ParseEvery(s.Every); err != nil {
		return Schedule{}, err
	}
	err := a.changeSchedules(func(list []Schedule) ([]Schedule, error) {
		s.Created, s.Next, s.Last = a.o.Now(), a.o.Now(), nil
		i := slices.IndexFunc(list, func(t Schedule) bool { return slices.EqualFunc(t.Args, s.Args, slices.Equal) })
		if i >= 0 {
			s.ID, s.Last = list[i].ID, list[i].Last
			list[i] = s
			return list, nil
		}
		highest := 0
		for _, t := range list {
			if n, err := strconv.Atoi(t.ID); err == nil {
				highest = max(highest, n)
			}
		}
		s.ID = strconv.Itoa(highest + 1)
		return append(list, s), nil
	})
	kick(a.due)
	return s, err
}

// removeSchedule ends a repetition, by its id or by what it saves.
func (a *Agent) removeSchedule(name string) (removed []Schedule, err error) {
	err = a.changeSchedules(func(list []Schedule) ([]Schedule, error) {
		var kept []Schedule
		for _, s := range list {
			if s.ID == name || s.What == name {
				removed = append(removed, s)
			} else {
				kept = append(kept, s)
			}
		}
		if len(removed) == 0 {
			return nil, fmt.Errorf("%w: nothing called %q is repeated", ErrUnknown, name)
		}
		return kept, nil
	})
	return removed, err
}

// keepSchedules runs what is due until ctx ends.
func (a *Agent) keepSchedules(ctx context.Context) {
	busy := map[string]bool{}
	ended := make(chan string)
	for {
		list, err := Schedules(a.o.Dirs)
		if err != nil {
			a.log.Error("schedules", "err", err)
		}
		wait := lookAt
		for _, s := range list {
			until := s.dueIn(a.o.Now())
			switch {
			case busy[s.ID]:
			case until <= 0:
				busy[s.ID] = true
				a.work.Go(func() error {
					a.runSchedule(ctx, s)
					select {
					case ended <- s.ID:
					case <-ctx.Done():
					}
					return nil
				})
			default:
				wait = min(wait, until)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case id := <-ended:
			delete(busy, id)
		case <-a.due:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// runSchedule runs one command and notes how it ended. What was missed while the
// machine slept is run once.
func (a *Agent) runSchedule(ctx context.Context, s Schedule) {
	args := make([]string, len(s.Args))
	for i, arg := range s.Args {
		args[i] = string(arg)
	}
	begun := a.o.Now()
	out := a.o.Command(ctx, args)
	if ctx.Err() != nil {
		return // the agent ends: it is due again at the next start
	}
	run := Ran{Begun: begun, Ended: a.o.Now(), Code: out.Code, Text: out.Text}
	op := Operation{Time: run.Ended, Folder: out.Folder, What: "backup", Instant: out.Instant, Path: s.What, Text: run.Text}
	if run.Code != 0 {
		op.What = "error"
		op.Text = fmt.Sprintf("backup of %s: %s", s.What, run.Text)
		a.log.Warn("a scheduled backup", "path", s.What, "code", run.Code, "err", run.Text)
	}
	a.ops.add(op)
	err := a.changeSchedules(func(list []Schedule) ([]Schedule, error) {
		for i := range list {
			if list[i].ID == s.ID {
				list[i].ran(run)
			}
		}
		return list, nil
	})
	if err != nil {
		a.log.Error("schedules", "err", err)
	}
}

// dueIn is how long it is until the next run. What begins in the future was noted
// by a clock that was wrong: it is due.
func (s *Schedule) dueIn(now time.Time) time.Duration {
	since := s.Created
	if s.Last != nil {
		since = s.Last.Begun
	}
	if since.After(now.Add(lookAt)) {
		return 0
	}
	return s.Next.Sub(now)
}

// ran notes a run and says when the next is due.
func (s *Schedule) ran(run Ran) {
	if run.Code != 0 && s.Last != nil {
		run.Failed = s.Last.Failed
	}
	if run.Code != 0 {
		run.Failed++
	}
	s.Last = &run
	next, err := ParseEvery(s.Every)
	if err != nil { // cannot happen: it was checked when it was added
		next = func(after time.Time) time.Time { return after.Add(time.Hour) }
	}
	if s.Next = next(run.Begun); s.Next.Before(run.Ended) {
		s.Next = next(run.Ended)
	}
	if run.Code == exitOffline {
		soon := run.Ended.Add(min(retryMin<<min(run.Failed-1, 10), retryMax))
		if soon.Before(s.Next) {
			s.Next = soon
		}
	}
}

// AddSchedule makes the agent repeat a command.
func (c *Client) AddSchedule(ctx context.Context, s Schedule) (added Schedule, err error) {
	return added, c.post(ctx, "schedule", s, &added, nil)
}

// RemoveSchedule ends a repetition, by its id or by what it saves.
func (c *Client) RemoveSchedule(ctx context.Context, name string) (removed []Schedule, err error) {
	return removed, c.post(ctx, "unschedule", nameRequest{Name: name}, &removed, nil)
}
