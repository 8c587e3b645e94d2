package containerbackup

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// sample is a project of three services, one of which others join.
func sample() *Info {
	one := func(service, depends string, mounts []container.MountPoint, host container.HostConfig) SavedContainer {
		return SavedContainer{
			Name: "shop-" + service + "-1", Service: service, ID: strings.Repeat(service[:1], 64), Running: true,
			Config:     &container.Config{Hostname: strings.Repeat(service[:1], 12), Labels: map[string]string{labelProject: "shop", labelService: service, labelDepends: depends}},
			HostConfig: &host, Mounts: mounts,
			Networks: map[string]*network.EndpointSettings{"shop_default": {Aliases: []string{service, strings.Repeat(service[:1], 12)}}},
		}
	}
	anonymous := strings.Repeat("5", 64)
	return &Info{
		Format: 1, Project: "shop",
		Networks: []network.Network{{Name: "shop_default", Labels: map[string]string{labelProject: "shop"}}},
		Volumes:  []SavedVolume{{Name: "shop_data", Path: "volumes/shop_data"}, {Name: anonymous, Path: "volumes/" + anonymous}, {Name: "shared", Dumped: true}},
		Binds:    []SavedBind{{Source: "/srv/conf"}, {Source: "/srv/data", Path: "binds/2"}},
		Containers: []SavedContainer{
			one("app", "db:service_healthy:false,cache:service_started:false", []container.MountPoint{
				{Type: mount.TypeVolume, Name: "shop_data", Destination: "/data", RW: true},
				{Type: mount.TypeVolume, Name: anonymous, Destination: "/anon", RW: true},
				{Type: mount.TypeBind, Source: "/srv/conf", Destination: "/conf"},
				{Type: mount.TypeBind, Source: "/srv/data", Destination: "/srv", RW: true},
			}, container.HostConfig{
				NetworkMode: "shop_default", Binds: []string{"shop_data:/data:rw", "/srv/conf:/conf:ro", "/srv/data:/srv"},
				PortBindings: network.PortMap{network.MustParsePort("80/tcp"): {{HostPort: "8080"}}},
			}),
			one("cache", "", nil, container.HostConfig{NetworkMode: container.NetworkMode("container:" + strings.Repeat("d", 64))}),
			one("db", "", []container.MountPoint{{Type: mount.TypeVolume, Name: "shared", Destination: "/db", RW: true}},
				container.HostConfig{NetworkMode: "shop_default", Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: "shared", Target: "/db"}}}),
		},
	}
}

func TestAnotherProjectSharesNothingWithTheOriginal(t *testing.T) {
	plan, err := makePlan(sample(), "test", "", nil)
	must(t, err)
	var order []string
	by := map[string]plannedContainer{}
	for _, c := range plan.containers {
		order = append(order, c.name)
		by[c.saved.Service] = c
		if c.config.Labels[labelProject] != "test" || c.config.Labels[labelService] != c.saved.Service || c.config.Hostname != "" {
			t.Errorf("%s: labels %v, host name %q", c.name, c.config.Labels, c.config.Hostname)
		}
		if e := c.networks["test_default"]; e == nil || !slices.Equal(e.Aliases, []string{c.saved.Service}) {
			t.Errorf("%s: networks %v", c.name, c.networks)
		}
	}
	if want := []string{"test-db-1", "test-cache-1", "test-app-1"}; !slices.Equal(order, want) {
		t.Errorf("they start in the order %v, want %v", order, want)
	}
	app, anonymous := by["app"].host, strings.Repeat("5", 64)
	if want := []string{"test_data:/data:rw", "/srv/conf:/conf:ro", "test_bind2:/srv", "test-" + anonymous + ":/anon"}; !slices.Equal(app.Binds, want) {
		t.Errorf("binds %v, want %v", app.Binds, want)
	}
	if app.PortBindings[network.MustParsePort("80/tcp")][0].HostPort != "" || app.NetworkMode != "test_default" {
		t.Errorf("ports %v, network %s", app.PortBindings, app.NetworkMode)
	}
	if got := by["cache"].host.NetworkMode; got != "container:test-db-1" {
		t.Errorf("it joins %s", got)
	}
	if got := by["db"].host.Mounts[0].Source; got != "test-shared" {
		t.Errorf("it mounts %s", got)
	}
	var volumes []string
	for _, v := range plan.volumes {
		volumes = append(volumes, v.name+"<"+v.path)
	}
	if want := []string{"test_bind2<binds/2", "test_data<volumes/shop_data", "test-" + anonymous + "<volumes/" + anonymous, "test-shared<"}; !slices.Equal(volumes, want) {
		t.Errorf("volumes %v, want %v", volumes, want)
	}
	// What a plan is made of stays as it was saved.
	if again := sample(); again.Containers[0].HostConfig.Binds[0] != "shop_data:/data:rw" || sampleChanged(again) {
		t.Error("the sample itself has changed")
	}
}

func sampleChanged(i *Info) bool {
	before := i.Containers[0].HostConfig.PortBindings[network.MustParsePort("80/tcp")][0].HostPort
	_, err := makePlan(i, "test", "", nil)
	return err != nil || i.Containers[0].HostConfig.PortBindings[network.MustParsePort("80/tcp")][0].HostPort != before ||
		i.Containers[0].Config.Labels[labelProject] != "shop" || i.Containers[2].HostConfig.Mounts[0].Source != "shared"
}

func TestTheSameProjectKeepsItsNames(t *testing.T) {
	plan, err := makePlan(sample(), "", "", []string{"db"})
	must(t, err)
	if len(plan.containers) != 1 || plan.containers[0].name != "shop-db-1" || len(plan.volumes) != 1 || plan.volumes[0].name != "shared" || len(plan.binds) != 0 {
		t.Errorf("%+v", plan)
	}
	if _, err := makePlan(sample(), "", "", []string{"queue"}); err == nil || !strings.Contains(err.Error(), "app, cache, db") {
		t.Errorf("a service that is not there: %v", err)
	}
}

func TestWhatCannotBeRenamedIsRefusedByName(t *testing.T) {
	host := sample()
	host.Containers[0].HostConfig.NetworkMode = "host"
	bind := sample()
	bind.Binds[1].Path = ""
	for want, info := range map[string]*Info{"shop-app-1": host, "/srv/data": bind} {
		if _, err := makePlan(info, "test", "", nil); !errors.Is(err, ErrCannotName) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %v and %s", err, ErrCannotName, want)
		}
		if _, err := makePlan(info, "", "", nil); err != nil {
			t.Errorf("under its own name: %v", err)
		}
	}
}

func TestErrorsThatAFirstStartExplainsAreNone(t *testing.T) {
	if err := complaint("psql:<stdin>:14: ERROR:  role \"shop\" already exists\nNOTICE: x\n"); err != nil {
		t.Error(err)
	}
	if err := complaint("NOTICE: x\npsql:<stdin>:14: ERROR:  permission denied to create role\n"); err == nil {
		t.Error("an error was not noticed")
	}
}
