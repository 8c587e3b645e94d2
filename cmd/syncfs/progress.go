package main

import (
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/syncfs/syncfs/internal/agent"
)

// progress shows how long work goes: a bar on a terminal, a line a second with
// --json, else nothing.
type progress struct {
	e *env

	mu    sync.Mutex // guards all below: updates may come from several goroutines
	bar   *progressbar.ProgressBar
	stage string
	last  time.Time
}

func (e *env) newProgress() *progress { return &progress{e: e} }

// update takes the newest state of the work.
func (p *progress) update(a agent.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.e.json {
		if now := p.e.now(); now.Sub(p.last) >= time.Second {
			p.last = now
			p.e.jsonLine(p.e.stdout, message{
				"message_type": "status", "stage": a.Stage, "folder": a.Folder,
				"files": a.Files, "total_files": a.TotalFiles, "bytes": a.Bytes, "total_bytes": a.TotalBytes,
			})
		}
		return
	}
	if _, tty := terminal(p.e.stderr); !tty || p.e.quiet {
		return
	}
	if p.bar == nil || p.stage != a.Stage {
		p.clear()
		p.stage = a.Stage
		p.bar = newBar(p.e.stderr, stageText(a.Stage), a)
	}
	total, done := a.TotalBytes, a.Bytes
	if total == 0 && a.TotalFiles > 0 || done == 0 && total == 0 {
		total, done = a.TotalFiles, a.Files
	}
	if total > 0 && p.bar.GetMax64() != total {
		p.bar.ChangeMax64(total)
	}
	_ = p.bar.Set64(done) // a terminal that is gone is nobody's loss
}

// count is update for work that has only a number.
func (p *progress) count(stage string, done, total int64) {
	p.update(agent.Progress{Stage: stage, Files: done, TotalFiles: total})
}

// done takes the bar away.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// clear needs p.mu.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}

func newBar(w io.Writer, text string, a agent.Progress) *progressbar.ProgressBar {
	total, inBytes := a.TotalBytes, true
	if total == 0 {
		total, inBytes = a.TotalFiles, a.Bytes > 0 && a.TotalFiles == 0
	}
	if total == 0 {
		total = -1
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(text),
		progressbar.OptionShowBytes(inBytes),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(),
		progressbar.OptionSetPredictTime(total > 0),
	)
}

func stageText(stage string) string {
	switch stage {
	case "scan":
		return "looking"
	case "read":
		return "reading"
	case "upload":
		return "sending"
	case "fetch":
		return "fetching"
	case "verify":
		return "verifying"
	case "apply":
		return "writing"
	}
	return stage
}
