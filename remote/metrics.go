package remote

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are the server's figures. No label holds a name of an object, a
// folder or a token.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	received  prometheus.Counter
	sent      prometheus.Counter
	running   prometheus.Gauge
	dropped   prometheus.Counter
	wrongKeys prometheus.Counter
}

func newMetrics(registry *prometheus.Registry, s *Server) (*metrics, error) {
	all := []prometheus.Collector{}
	if registry == nil {
		registry = prometheus.NewRegistry()
		all = append(all, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "syncfs", Subsystem: "server", Name: name, Help: help})
	}
	gauge := func(name, help string, fn func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "syncfs", Subsystem: "server", Name: name, Help: help}, fn)
	}
	m := &metrics{
		registry: registry,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "syncfs", Subsystem: "server", Name: "requests_total", Help: "Requests answered.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "syncfs", Subsystem: "server", Name: "request_seconds", Help: "Time that requests took.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10),
		}, []string{"route"}),
		received: counter("received_bytes_total", "Bytes of request bodies."),
		sent:     counter("sent_bytes_total", "Bytes of answers."),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "syncfs", Subsystem: "server", Name: "requests_running", Help: "Requests being answered.",
		}),
		dropped:   counter("subscribers_dropped_total", "Event streams cut because their reader did not keep up."),
		wrongKeys: counter("wrong_keys_total", "Requests with a key that is not accepted."),
	}
	all = append(all, m.requests, m.seconds, m.received, m.sent, m.running, m.dropped, m.wrongKeys,
		gauge("subscribers", "Event streams that stand.", func() float64 { return float64(s.hub.count()) }),
		gauge("partial_bytes", "Bytes of unfinished uploads.", func() float64 { return float64(s.partials.bytes()) }),
	)
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) request(route string, status int, in, out int64, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
	m.received.Add(float64(in))
	m.sent.Add(float64(out))
}
