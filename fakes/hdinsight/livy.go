package hdinsight

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"

	"lazulite.dev/fakes/hdinsight/cluster"
	"lazulite.dev/fakes/hdinsight/livy"
)

// serveLivy passes on to the cluster's Livy, which begins with the first
// request for it. A cluster without Spark has none.
func (f *Fake) serveLivy(w http.ResponseWriter, r *http.Request, c *cluster.Cluster, rest string) {
	if !c.Spec().Hadoop {
		badGateway(w, errors.New("the cluster has no Livy"))
		return
	}
	server, err := f.livyOf(c)
	if err != nil {
		badGateway(w, err)
		return
	}
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = rest, ""
	server.ServeHTTP(w, r)
}

func (f *Fake) livyOf(c *cluster.Cluster) (*livy.Server, error) {
	f.livyLock.Lock()
	defer f.livyLock.Unlock()
	if f.livys == nil {
		return nil, errors.New("the gateway is closing")
	}
	id := c.Spec().ID
	if f.livys[id] == nil {
		server, err := livy.New(livy.Config{Node: c, Dir: filepath.Join(c.Dir(), "livy"), Clock: f.cfg.Clock, Logger: f.cfg.Logger,
			DefaultFS: func() string { return c.Configurations()["core-site"]["fs.defaultFS"] }})
		if err != nil {
			return nil, err
		}
		f.livys[id] = server
	}
	return f.livys[id], nil
}

// closeLivy ends one cluster's Livy, if it has begun.
func (f *Fake) closeLivy(ctx context.Context, id string) error {
	f.livyLock.Lock()
	server := f.livys[id]
	delete(f.livys, id)
	f.livyLock.Unlock()
	if server == nil {
		return nil
	}
	return server.Close(ctx)
}

// closeLivys ends all, for good.
func (f *Fake) closeLivys(ctx context.Context) error {
	f.livyLock.Lock()
	all := f.livys
	f.livys = nil
	f.livyLock.Unlock()
	var errs []error
	for _, server := range all {
		errs = append(errs, server.Close(ctx))
	}
	return errors.Join(errs...)
}
