//go:build linux

package fs_test

import (
	"fmt"
	"os"
	"testing"
)

// BenchmarkPast walks and reads versions of a large tree, cold: each time in a
// mount of its own. SYNCFS_BENCH_TREE names the tree (such as that of the
// unpacked linux-source-6.1), SYNCFS_BENCH_TAR a directory in it to read.
func BenchmarkPast(b *testing.B) {
	tree, sub := os.Getenv("SYNCFS_BENCH_TREE"), os.Getenv("SYNCFS_BENCH_TAR")
	if tree == "" {
		b.Log("SYNCFS_BENCH_TREE is not set: a small tree")
		tree, sub = original(b), "."
	}
	s := newPastSource()
	s.land(b, instant(1), s.capture(b, tree))
	for _, job := range []struct{ name, script string }{
		{"find", `find .versions/20250201_000001/ | wc -l`},
		{"find-attributes", `find .versions/20250201_000001/ -newer /proc/1 -size +1000G | wc -l`},
		{"tar", fmt.Sprintf(`tar -cf - -C .versions/20250201_000001/%s . | wc -c`, sub)},
		{"du", `du -s .versions/20250201_000001/ | cut -f1`},
	} {
		b.Run(job.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				dir, m := mountPast(b, s, withClock)
				sh(b, dir, `ls .versions >/dev/null`)
				b.StartTimer()
				sh(b, dir, job.script)
				b.StopTimer()
				b.ReportMetric(float64(m.Stats().Nodes), "nodes")
				b.StartTimer()
			}
		})
		b.Run(job.name+"-warm", func(b *testing.B) {
			dir, _ := mountPast(b, s, withClock)
			sh(b, dir, job.script)
			for b.Loop() {
				sh(b, dir, job.script)
			}
		})
	}
}
