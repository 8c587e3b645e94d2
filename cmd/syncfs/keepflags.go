package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/versions"
)

// keepFlags are the rules by which versions are kept.
type keepFlags struct {
	count  map[versions.Unit]*howMany
	within map[versions.Unit]*config.Duration
	tags   []string
	older  config.Duration
}

// howMany is a number of buckets, or "all".
type howMany int

func (n *howMany) Set(text string) error {
	if text == "all" {
		*n = versions.All
		return nil
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is neither a number nor all", text)
	}
	*n = howMany(v)
	return nil
}

func (n *howMany) Type() string { return "n" }

func (n *howMany) String() string {
	switch *n {
	case 0:
		return ""
	case versions.All:
		return "all"
	}
	return strconv.Itoa(int(*n))
}

// keepUnits are the units as flags name them.
var keepUnits = []struct {
	unit       versions.Unit
	name, text string
}{
	{versions.Every, "", "version"}, {versions.Hourly, "hourly", "hour"}, {versions.Daily, "daily", "day"},
	{versions.Weekly, "weekly", "week"}, {versions.Monthly, "monthly", "month"}, {versions.Yearly, "yearly", "year"},
}

func (k *keepFlags) add(f *pflag.FlagSet) {
	k.count, k.within = map[versions.Unit]*howMany{}, map[versions.Unit]*config.Duration{}
	for _, u := range keepUnits {
		name, text := u.name, "keep the newest version of the last `N` "+u.text+"s that have one (or all)"
		if u.unit == versions.Every {
			name, text = "last", "keep the last `N` versions"
		}
		k.count[u.unit] = new(howMany)
		f.Var(k.count[u.unit], "keep-"+name, text)
	}
	for _, u := range keepUnits {
		name, text := "keep-within-"+u.name, "keep one version a "+u.text+" for `AGE` (30d)"
		if u.unit == versions.Every {
			name, text = "keep-within", "keep every version for `AGE` (1d, 12h)"
		}
		k.within[u.unit] = new(config.Duration)
		f.Var(k.within[u.unit], name, text)
	}
	f.StringArrayVar(&k.tags, "keep-tag", nil, "keep what has all of these `TAGS` (a,b); may be given again")
	f.Var(&k.older, "older-than", "forget only what is older than `AGE` (30d)")
}

// rules are what the flags say; the zero Retention when they say nothing.
func (k *keepFlags) rules() (versions.Retention, error) {
	var r versions.Retention
	for u, n := range k.count {
		if *n == 0 {
			continue
		}
		if r.Count == nil {
			r.Count = map[versions.Unit]int{}
		}
		r.Count[u] = int(*n)
	}
	for u, d := range k.within {
		switch {
		case *d < 0:
			return r, usage("an age cannot be negative: %s", d)
		case *d == 0:
			continue
		case r.Within == nil:
			r.Within = map[versions.Unit]time.Duration{}
		}
		r.Within[u] = time.Duration(*d)
	}
	for _, tags := range k.tags {
		r.Tags = append(r.Tags, strings.Split(tags, ","))
	}
	if r.Younger = time.Duration(k.older); r.Younger < 0 {
		return r, usage("an age cannot be negative: %s", k.older)
	}
	return r, nil
}
