package conformance

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

// run is what the clients read of RunDto.
type run struct {
	RunID, RootRunID, ParentRunID, Status, Name, Target string
	RunNumber                                           *int
	Hidden                                              bool
	Tags, Properties                                    map[string]string
	StartTimeUtc, EndTimeUtc                            string
}

// details is what the clients read of RunDetailsDto.
type details struct {
	RunID, Status, Target string
	LogFiles              map[string]string
	Error                 map[string]any
	RunDefinition         map[string]any
}

// newRun creates a run as Experiment.start_logging does, and returns its URL.
func (s *session) newRun(extra map[string]any) (id, u string) {
	id = uuid()
	body := map[string]any{"runId": id, "status": "NotStarted", "name": "run_" + id, "target": "sdk"}
	for k, v := range extra {
		body[k] = v
	}
	u = s.workspace().experiment("history") + "/runs/" + id
	s.data(http.MethodPatch, u, body)
	return id, u
}

func (s *session) readRun(u string) run { return decode[run](s, s.data(http.MethodGet, u, nil)) }

// event posts a status event with its time under key, StartTime or EndTime.
func (s *session) event(u, id, name, key string) {
	s.eventWith(u, id, name, key, time.Now().UTC().Format(time.RFC3339))
}

func (s *session) eventWith(u, id, name, key string, value any) {
	s.data(http.MethodPost, u+"/events", map[string]any{"timestamp": time.Now().UTC().Format(time.RFC3339),
		"name": "Microsoft.MachineLearning.Run." + name, "data": map[string]any{"RunId": id, key: value}})
}

// paged reads all pages of a list of the data plane.
func paged[T any](s *session, u string) []T {
	var all []T
	for next := u; ; {
		doc := decode[struct {
			Value             []T
			ContinuationToken string
		}](s, s.data(http.MethodGet, next, nil))
		if doc.Value == nil {
			s.fail("GET %s: a list has a value array, also when it is empty", next)
		}
		all = append(all, doc.Value...)
		if doc.ContinuationToken == "" || len(doc.Value) == 0 {
			return all
		}
		sep := "?"
		if strings.Contains(u, "?") {
			sep = "&"
		}
		next = u + sep + "$continuationtoken=" + url.QueryEscape(doc.ContinuationToken)
	}
}

func ids(runs []run) []string {
	var list []string
	for _, r := range runs {
		list = append(list, r.RunID)
	}
	return list
}

func historySpecs() []spec {
	return []spec{
		{"aml.run.create", func(s *session) {
			id := uuid()
			u := s.workspace().experiment("history") + "/runs/" + id
			r := decode[run](s, s.data(http.MethodPatch, u, map[string]any{"runId": id, "status": "NotStarted", "name": "n", "target": "sdk"}))
			if r.RunNumber == nil {
				s.fail("the run has no runNumber, which the SDK requires as an int")
			}
			s.Expect(r.RunID).To(gomega.Equal(id))
			s.Expect(r.RootRunID).To(gomega.Equal(id))
			s.Expect(r.Status).To(gomega.Equal("NotStarted"))
			r = s.readRun(u)
			s.Expect([]string{r.RunID, r.Name, r.Target}).To(gomega.Equal([]string{id, "n", "sdk"}))
		}},
		{"aml.run.absent", func(s *session) {
			u := s.workspace().experiment("history") + "/runs/" + uuid()
			s.lost(s.do(wire.Request{Method: http.MethodGet, URL: u}))
			s.lost(s.do(wire.Request{Method: http.MethodGet, URL: u + "/details"}))
		}},
		{"aml.run.numbers", func(s *session) {
			_, a := s.newRun(nil)
			_, b := s.newRun(nil)
			ra, rb := s.readRun(a), s.readRun(b)
			if ra.RunNumber == nil || rb.RunNumber == nil || *ra.RunNumber >= *rb.RunNumber {
				s.fail("run numbers should rise within an experiment")
			}
		}},
		{"aml.run.merge", func(s *session) {
			id, u := s.newRun(map[string]any{"tags": map[string]string{"a": "1"}, "properties": map[string]string{"p": "1"}})
			s.data(http.MethodPatch, u, map[string]any{"runId": id, "tags": map[string]string{"b": "2"}})
			s.data(http.MethodPatch, u, map[string]any{"runId": id, "properties": map[string]string{"q": "2"}})
			r := s.readRun(u)
			s.Expect(r.Tags).To(gomega.Equal(map[string]string{"a": "1", "b": "2"}))
			s.Expect(r.Properties).To(gomega.And(gomega.HaveKeyWithValue("p", "1"), gomega.HaveKeyWithValue("q", "2")))
			s.Expect(r.Status).To(gomega.Equal("NotStarted"), "a PATCH without status changed it")
		}},
		{"aml.run.events", func(s *session) {
			id, u := s.newRun(nil)
			s.event(u, id, "Start", "StartTime")
			r := s.readRun(u)
			s.Expect(r.Status).To(gomega.Equal("Running"))
			s.Expect(r.StartTimeUtc).To(gomega.MatchRegexp(isoDate))
			s.eventWith(u, id, "Heartbeat", "TimeToLiveSeconds", 120)
			s.event(u, id, "Completed", "EndTime")
			r = s.readRun(u)
			s.Expect(r.Status).To(gomega.Equal("Completed"))
			s.Expect(r.EndTimeUtc).To(gomega.MatchRegexp(isoDate))
			s.event(u, id, "Start", "StartTime")
			s.event(u, id, "Failed", "EndTime")
			s.Expect(s.readRun(u).Status).To(gomega.Equal("Completed"), "what is over stays so, whatever comes late")
			for _, end := range []string{"Failed", "Canceled"} {
				id, u := s.newRun(nil)
				s.event(u, id, "Start", "StartTime")
				s.event(u, id, end, "EndTime")
				s.Expect(s.readRun(u).Status).To(gomega.Equal(end))
			}
		}},
		{"aml.run.error", func(s *session) {
			id, u := s.newRun(nil)
			s.event(u, id, "Start", "StartTime")
			s.data(http.MethodPost, u+"/events", map[string]any{"timestamp": time.Now().UTC().Format(time.RFC3339), "name": "Microsoft.MachineLearning.Run.Failed",
				"data": map[string]any{"RunId": id, "EndTime": time.Now().UTC().Format(time.RFC3339), "Error": map[string]any{"Error": map[string]any{"Code": "UserError", "Message": "it is broken"}}}})
			r := s.data(http.MethodGet, u+"/details", nil)
			s.Expect(r.Text("status")).To(gomega.Equal("Failed"), r.String())
			s.Expect(r.Text("error", "error", "message")).To(gomega.Equal("it is broken"), r.String())
		}},
		{"aml.run.details", func(s *session) {
			id, u := s.newRun(nil)
			r := s.data(http.MethodGet, u+"/details", nil)
			s.Expect(r.Text("runId")).To(gomega.Equal(id), r.String())
			s.Expect(r.Text("status")).To(gomega.Equal("NotStarted"), r.String())
			if _, ok := r.Value("logFiles").(map[string]any); !ok {
				s.fail("%s; logFiles is an object, also when it is empty", r)
			}
		}},
		{"aml.run.children", func(s *session) {
			root, u := s.newRun(nil)
			var children []string
			for range 2 {
				id, _ := s.newRun(map[string]any{"parentRunId": root})
				children = append(children, id)
			}
			grand, _ := s.newRun(map[string]any{"parentRunId": children[0]})
			list := paged[run](s, u+"/children?$orderby=StartTimeUtc%20desc")
			s.Expect(ids(list)).To(gomega.ConsistOf(children), "the children of a run")
			s.Expect(list[0].RootRunID).To(gomega.Equal(root))
			w := s.workspace()
			all := ids(paged[run](s, w.experiment("history")+"/runs?$filter=RootRunId%20eq%20"+root))
			s.Expect(all).To(gomega.ConsistOf(root, children[0], children[1], grand), "the root and its descendants")
		}},
		{"aml.run.list", func(s *session) {
			a, _ := s.newRun(nil)
			b, _ := s.newRun(map[string]any{"hidden": true})
			list := paged[run](s, s.workspace().experiment("history")+"/runs?$orderby=StartTimeUtc%20desc")
			s.Expect(ids(list)).To(gomega.ContainElement(a))
			for _, r := range list {
				if r.RunID == b && !r.Hidden {
					s.fail("the hidden run %s is listed without hidden:true, so the SDK shows it", b)
				}
			}
		}},
		{"aml.run.filter", func(s *session) {
			value := random()
			id, _ := s.newRun(map[string]any{"tags": map[string]string{"k": value}})
			_, _ = s.newRun(map[string]any{"tags": map[string]string{"k": "other"}})
			list := paged[run](s, s.workspace().experiment("history")+"/runs?$filter="+url.QueryEscape("(Tags.k eq '"+value+"')"))
			s.Expect(ids(list)).To(gomega.Equal([]string{id}))
		}},
		{"aml.run.token", func(s *session) {
			id, u := s.newRun(nil)
			token := s.text(s.data(http.MethodGet, u+"/token", nil), "token")
			r := s.do(wire.Request{Method: http.MethodGet, URL: u, Token: token})
			s.status(r, http.StatusOK)
			s.Expect(r.Text("runId")).To(gomega.Equal(id), r.String())
			// A script's token is no key to the subscription.
			arm := s.do(wire.Request{Method: http.MethodGet, URL: s.subscription() + "/resourcegroups", Version: versionResources, Token: token})
			s.status(arm, http.StatusUnauthorized, http.StatusForbidden)
		}},
		{"aml.experiment.list", func(s *session) {
			s.newRun(nil)
			w := s.workspace()
			list := paged[struct{ Name string }](s, w.scope("history")+"/experiments")
			s.Expect(list).To(gomega.ContainElement(struct{ Name string }{"conformance"}))
			r := s.data(http.MethodGet, w.experiment("history"), nil)
			s.Expect(r.Text("name")).To(gomega.Equal("conformance"), r.String())
			s.text(r, "experimentId")
			s.lost(s.do(wire.Request{Method: http.MethodGet, URL: w.scope("history") + "/experiments/absent"}))
		}},
	}
}
