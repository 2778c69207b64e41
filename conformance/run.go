package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/onsi/ginkgo/v2"
)

// cleanUpTime is what deleting may take when the run itself was stopped or has spent its time.
const cleanUpTime = 10 * time.Minute

// Run checks every requirement that the Config asks for and returns the
// report. It needs no test framework around it, may be called more than once,
// and always deletes what it made, also when ctx ends. The error is about the
// Config or an endpoint that can't be reached at all; failed requirements are in the report.
func Run(ctx context.Context, cfg Config) (Report, error) {
	su, err := newSuite(cfg)
	if err != nil {
		return Report{}, err
	}
	if err := su.reachable(ctx); err != nil {
		return Report{}, err
	}
	for _, sp := range specs() {
		if ctx.Err() != nil {
			break
		}
		su.execute(ctx, sp)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	rep := su.finish(clean)
	if su.cfg.Results != nil {
		if err := rep.WriteJSON(su.cfg.Results); err != nil {
			return rep, fmt.Errorf("writing the results: %w", err)
		}
	}
	if ctx.Err() != nil {
		return rep, fmt.Errorf("%w: %w", errStopped, context.Cause(ctx))
	}
	return rep, nil
}

// Describe adds the suite to the caller's Ginkgo suite. The Config is read when
// the specs run, so that a BeforeSuite may fill it in. Skip, unsupported and
// disabled are Ginkgo's skips; shoulds and mays that fail are skips with a word, for they break no one's build.
func Describe(cfg *Config) bool {
	list, err := Catalogue()
	if err != nil {
		panic(err)
	}
	byID := map[string]Requirement{}
	for _, r := range list {
		byID[r.ID] = r
	}
	return ginkgo.Describe("Azure Machine Learning of 2018", ginkgo.Ordered, ginkgo.ContinueOnFailure, func() {
		var su *suite
		ginkgo.BeforeAll(func(ctx ginkgo.SpecContext) {
			var err error
			if su, err = newSuite(*cfg); err == nil {
				err = su.reachable(ctx)
			}
			if err != nil {
				ginkgo.Fail(err.Error())
			}
		})
		ginkgo.AfterAll(func(ctx ginkgo.SpecContext) {
			if su == nil {
				return
			}
			rep := su.finish(ctx)
			if cfg.Results != nil {
				if err := rep.WriteJSON(cfg.Results); err != nil {
					ginkgo.Fail(err.Error())
				}
			}
			for _, l := range rep.Left {
				ginkgo.GinkgoWriter.Println("left behind:", l)
			}
		}, ginkgo.NodeTimeout(cleanUpTime))
		for _, sp := range specs() {
			req := byID[sp.id]
			ginkgo.It(sp.id+": "+req.Text, ginkgo.Label(req.Labels...), func(ctx ginkgo.SpecContext) {
				res := su.execute(ctx, sp)
				switch {
				case res.Status == Pass:
				case res.Status == Errored, res.Status == Fail && req.Level == Must:
					ginkgo.Fail(string(res.Status) + ": " + res.Detail)
				default:
					ginkgo.Skip(fmt.Sprintf("%s (%s): %s", res.Status, req.Level, res.Detail))
				}
			})
		}
	})
}

// Test runs the suite as one Ginkgo suite under t. Ginkgo runs one suite in a
// process; a program that wants more calls Run.
func Test(t ginkgo.GinkgoTestingT, cfg Config) bool {
	Describe(&cfg)
	return ginkgo.RunSpecs(t, "conformance of "+cfg.Endpoint)
}
