package conformance

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"net/http"
	"os"
	"strings"

	"lazulite.dev/conformance/wire"
)

// fixtures are what several specs share: each is made by the first that needs it.
type fixtures struct {
	group      fixture[string]
	workspace  fixture[*workspace]
	local      fixture[*localHost]
	vm         fixture[*machine]
	dsvm       fixture[*ordered]
	gpu        fixture[gpuMachine]
	aci        fixture[containerGroup]
	batchAI    fixture[*batchAI]
	image      fixture[string]
	service    fixture[*webService]
	amlCluster fixture[*amlCluster]
	hdinsight  fixture[sparkCluster]
	// sparkCompute is that cluster, attached.
	sparkCompute fixture[string]
	pyspark      fixture[kept]
	providers    map[string]fixture[struct{}]
	dirs         []string
}

// fixture is made once. Whoever needs it after it failed is skipped: the failure is told once.
type fixture[T any] struct {
	tried bool
	value T
	fault *halt
	// created are the types that making it created.
	created map[string]bool
}

// obtain makes f by make the first time.
func obtain[T any](s *session, f *fixture[T], what string, make func() T) T {
	if f.tried {
		maps.Copy(s.created, f.created)
		if f.fault == nil {
			return f.value
		}
		if f.fault.status != Fail {
			panic(*f.fault)
		}
		first, _, _ := strings.Cut(f.fault.detail, "\n")
		s.skip("needs %s, which could not be had: %s", what, first)
	}
	f.tried = true
	outer := s.created
	s.created = map[string]bool{}
	f.fault = protect(func() { f.value = make() })
	f.created = s.created
	s.created = outer
	maps.Copy(s.created, f.created)
	if f.fault != nil {
		panic(*f.fault)
	}
	return f.value
}

func (f *fixtures) close() {
	for _, d := range f.dirs {
		_ = os.RemoveAll(d)
	}
}

// tempDir is removed at the end of the run.
func (s *session) tempDir() string {
	d, err := os.MkdirTemp("", "conform-")
	s.must(err)
	s.fix.dirs = append(s.fix.dirs, d)
	return d
}

func random() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func (s *session) subscription() string { return "/subscriptions/" + s.cfg.Subscription }

// newGroup creates a resource group and returns its path.
func (s *session) newGroup() string {
	path := s.subscription() + "/resourceGroups/" + s.cfg.ResourceGroup + random()
	r := s.create(path, versionResources, map[string]any{"location": s.cfg.Location, "tags": map[string]string{"createdBy": "conformance"}})
	s.status(r, http.StatusOK, http.StatusCreated)
	return path
}

// group is the path of the group that specs share.
func (s *session) group() string {
	return obtain(s, &s.fix.group, "a resource group", s.newGroup)
}

// provider ends the spec as unsupported unless ARM knows the provider and has it, or can have it, registered.
func (s *session) provider(namespace string) {
	if s.fix.providers == nil {
		s.fix.providers = map[string]fixture[struct{}]{}
	}
	f := s.fix.providers[namespace]
	defer func() { s.fix.providers[namespace] = f }()
	obtain(s, &f, "the provider "+namespace, func() (none struct{}) {
		path := s.subscription() + "/providers/" + namespace
		r := s.get(path, versionResources)
		if r.Status == http.StatusNotFound {
			s.unsupported("%s", r)
		}
		s.status(r, http.StatusOK)
		if r.Text("registrationState") == "Registered" {
			return
		}
		// az does the same, unasked, when it meets an unregistered provider.
		if r = s.send(http.MethodPost, path+"/register", versionResources, nil); !r.OK() {
			s.unsupported("%s is not registered, and %s", namespace, r)
		}
		s.registered(path)
		return
	})
}

// registered waits until a provider is.
func (s *session) registered(path string) {
	op := &wire.Operation{}
	err := s.client.Until(s.ctx, op, s.client.Absolute(path+"?api-version="+versionResources), func(r *wire.Response) bool {
		return r.Text("registrationState") != "Registering"
	})
	if err != nil {
		s.fail("waiting for the registration: %v", err)
	}
	if op.Last.Text("registrationState") != "Registered" {
		s.fail("%s; it should be Registered", op.Last)
	}
}
