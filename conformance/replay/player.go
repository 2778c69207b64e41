package replay

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lazulite.dev/conformance/wire"
)

// Config of a replay. Wire and Subscription are required.
type Config struct {
	// Wire reaches the endpoint. Its Advance, if set, is called instead of waiting.
	Wire wire.Config
	// Subscription takes the place of the recorded one.
	Subscription string
	// Follow is how long one poll is followed, at most. Default 2 min.
	Follow time.Duration
	// Time bounds the whole replay; what it leaves is skipped. Default 1 h.
	Time time.Duration
	// Replace are texts of the recordings and what is put in their place (old, new,
	// old, new …): names of what is not to be had here, such as a repository.
	Replace []string
	// Keep leaves the resource groups that the recordings create.
	Keep bool
}

// pollEvery is short: nobody pays for the recorded waits again.
const pollEvery = 200 * time.Millisecond

// player plays one cassette.
type player struct {
	cfg      Config
	client   *wire.Client
	host     string
	cassette Cassette
	requests []Request
	learned  *learned
	keys     map[string]string // of storage accounts
	pending  map[string]*operation
	// watched are the polls that were played once and go on with new times in their filters.
	watched map[string]bool
	// deleting are the answers to deletions of groups, which no recording follows.
	deleting []*wire.Response
}

// operation is a recorded long-running operation with the endpoint's own.
type operation struct {
	request int    // index of the request that began it
	url     string // the endpoint's; "" if it gave none
	done    bool
}

// Run plays the files, in order, and returns the report. The error is about
// the Config or ctx; files that can't be read or played are told in the report.
func Run(ctx context.Context, cfg Config, files []string) (Report, error) {
	if cfg.Subscription == "" {
		return Report{}, fmt.Errorf("no subscription: give its id")
	}
	if len(cfg.Replace)%2 != 0 {
		return Report{}, fmt.Errorf("%d texts to replace: each needs another in its place", len(cfg.Replace))
	}
	if cfg.Follow <= 0 {
		cfg.Follow = 2 * time.Minute
	}
	if cfg.Time <= 0 {
		cfg.Time = time.Hour
	}
	cfg.Wire.PollLimit = cfg.Follow
	if cfg.Wire.PollEvery <= 0 {
		cfg.Wire.PollEvery = pollEvery
	}
	client, err := wire.New(cfg.Wire)
	if err != nil {
		return Report{}, err
	}
	u, err := url.Parse(cfg.Wire.Endpoint)
	if err != nil {
		return Report{}, err
	}
	limit, cancel := context.WithTimeoutCause(ctx, cfg.Time, fmt.Errorf("the time of %s is spent", cfg.Time))
	defer cancel()
	rep := Report{Endpoint: cfg.Wire.Endpoint}
	for _, f := range files {
		c, err := Load(f, cfg.Replace...)
		if err != nil {
			rep.Files = append(rep.Files, File{Name: f, Error: err.Error()})
			continue
		}
		p := &player{cfg: cfg, client: client, host: u.Host, cassette: c, learned: newLearned(c, cfg.Subscription), keys: map[string]string{}, pending: map[string]*operation{}, watched: map[string]bool{}}
		rep.Files = append(rep.Files, p.play(limit))
	}
	rep.sum()
	if err := ctx.Err(); err != nil {
		return rep, context.Cause(ctx)
	}
	return rep, nil
}

func (p *player) play(ctx context.Context) File {
	file := File{Name: p.cassette.Name}
	if err := p.prepare(ctx); err != nil {
		file.Error = err.Error()
	} else {
		for i := 0; i < len(p.cassette.Exchanges); {
			i = p.step(ctx, i)
		}
	}
	file.Left = p.cleanUp(context.WithoutCancel(ctx))
	file.Requests = p.requests
	return file
}

// cleanUp waits for what the recording deleted and deletes the rest.
func (p *player) cleanUp(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Follow)
	defer cancel()
	for _, r := range p.deleting {
		_, _ = p.client.Await(ctx, r)
	}
	if p.cfg.Keep {
		return nil
	}
	if err := p.client.CleanUp(ctx); err != nil {
		return strings.Split(wire.Redact(err.Error()), "\n")
	}
	return nil
}

// step plays the exchange at i, with those after it that are the same poll, and returns the index of the next.
func (p *player) step(ctx context.Context, i int) int {
	e := p.cassette.Exchanges[i]
	req := Request{N: i + 1, Method: e.Method, URL: strings.TrimPrefix(e.URL, "https://management.azure.com"), Outcome: Agrees}
	next := i + 1
	switch reason := p.unplayable(ctx, e); {
	case reason != "":
		req.Outcome, req.Reason = Skipped, reason
	case e.Method == http.MethodGet && p.operation(e.URL) != nil:
		req.Outcome = Poll
		if reason := p.follow(ctx, i, p.operation(e.URL)); reason != "" {
			req.Outcome, req.Reason = Skipped, reason
		}
	case e.Method == http.MethodGet && p.watched[pollKey(e.URL)]:
		req.Outcome = Poll
	default:
		if key := pollKey(e.URL); strings.Contains(key, timeMark) {
			p.watched[key] = true
		}
		last := i
		if e.Method == http.MethodGet {
			last, next = p.group(i)
		}
		req.Polls = next - i - 1
		p.exchange(ctx, i, last, &req)
	}
	p.requests = append(p.requests, req)
	for range next - i - 1 {
		p.requests = append(p.requests, Request{N: len(p.requests) + 1, Method: e.Method, URL: req.URL, Outcome: Poll})
	}
	return next
}

// unplayable says why an exchange isn't played, or "".
func (p *player) unplayable(ctx context.Context, e Exchange) string {
	if ctx.Err() != nil {
		return context.Cause(ctx).Error()
	}
	u, err := url.Parse(e.URL)
	switch {
	case err != nil:
		return "the recorded URL is none"
	case e.Answer.Status >= 500:
		return fmt.Sprintf("the recorded answer, %d, is a fault of that day", e.Answer.Status)
	case storageAccount(u) != "":
		return p.unsigned(u)
	case !isARM(u.Host):
		return "not a request to ARM but to " + u.Host
	}
	return ""
}

// group finds the last exchange of the poll that begins at i, and the one
// after it. Polls of operations in between belong to nobody and stay out of it.
func (p *player) group(i int) (last, next int) {
	last, next = i, i+1
	key := pollKey(p.cassette.Exchanges[i].URL)
	for j := i + 1; j < len(p.cassette.Exchanges); j++ {
		e := p.cassette.Exchanges[j]
		if e.Method != http.MethodGet || pollKey(e.URL) != key || e.Answer.Status >= 500 {
			break
		}
		last, next = j, j+1
	}
	return last, next
}

// exchange sends the request at first and compares the answer with the recorded one at last, waiting for its states.
func (p *player) exchange(ctx context.Context, first, last int, req *Request) {
	e, want := p.cassette.Exchanges[first], p.cassette.Exchanges[last].Answer
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Follow)
	defer cancel()
	var resp *wire.Response
	for {
		next, err := p.send(ctx, e)
		if err != nil {
			if resp != nil {
				break
			}
			req.Outcome = Differs
			req.Differences = []Difference{{Kind: "status", Recorded: fmt.Sprint(want.Status), Answered: "nothing: " + wire.Redact(err.Error())}}
			return
		}
		resp = next
		behind := last > first && resp.Status != want.Status
		if e.Method != http.MethodGet || !(behind || unsettled(decode(want.Body), decode(string(resp.Body)))) {
			break
		}
		if p.client.Wait(ctx, p.client.Pause(resp)) != nil {
			break
		}
	}
	got := Answer{Status: resp.Status, Header: resp.Header, Body: string(resp.Body)}
	req.Differences, req.Notes = Compare(e.Method, p.host, want, got)
	if strings.Contains(pollKey(e.URL), timeMark) {
		req.pardonEmptyLists()
	}
	if len(req.Differences) > 0 {
		req.Outcome = Differs
	}
	p.learned.from(want, got)
	p.keep(e, got)
	p.begin(want, got)
}

func (p *player) send(ctx context.Context, e Exchange) (*wire.Response, error) {
	if u, err := url.Parse(e.URL); err == nil && storageAccount(u) != "" {
		return p.sendStorage(ctx, e, u)
	}
	r := wire.Request{Method: e.Method, URL: p.local(e.URL), Header: http.Header{}}
	if e.Body != "" {
		r.Body = p.learned.apply(e.Body)
	}
	for _, k := range []string{"Accept", "Accept-Language", "Content-Type", "If-Match", "If-None-Match", "Commandname"} {
		if v := e.Header.Values(k); len(v) > 0 {
			r.Header[k] = v
		}
	}
	path, isGroup := groupPath(e)
	resp, err := p.client.Do(ctx, r)
	switch {
	case !isGroup:
	case e.Method == http.MethodPut && (err != nil || resp.Status < 400):
		if err := p.client.Track(p.local(path), groupVersion); err != nil {
			return nil, err
		}
	case e.Method == http.MethodDelete && err == nil && resp.OK():
		p.deleting = append(p.deleting, resp)
	}
	return resp, err
}

// local is a recorded URL at the endpoint, with what was learned.
func (p *player) local(u string) string {
	parsed, err := url.Parse(u)
	if err != nil {
		return u
	}
	return p.learned.apply(strings.TrimPrefix(u, parsed.Scheme+"://"+parsed.Host))
}

// begin remembers the operation that an answer began, under the URLs that the recording has for it.
func (p *player) begin(want, got Answer) {
	for _, k := range []string{"Azure-AsyncOperation", "Location"} {
		recorded := want.Header.Get(k)
		if recorded == "" {
			continue
		}
		op := &operation{request: len(p.requests), url: got.Header.Get(k)}
		for _, key := range operationKeys(recorded) {
			p.pending[key] = op
		}
	}
}

// operation finds the operation that a recorded URL polls.
func (p *player) operation(u string) *operation {
	for _, key := range operationKeys(u) {
		if op := p.pending[key]; op != nil {
			return op
		}
	}
	return nil
}

// operationKeys are a URL's path, and its last segment where that is an id:
// the names of deployments were replaced in URLs, but not in headers.
func operationKeys(u string) []string {
	parsed, err := url.Parse(u)
	if err != nil {
		return nil
	}
	monitor := ""
	if parsed.Query().Get("monitor") != "" {
		monitor = " monitor"
	}
	path := strings.ToLower(parsed.Path)
	list := []string{path + monitor}
	last := path[strings.LastIndex(path, "/")+1:]
	if strings.Contains(path, "/operationstatuses/") && generated().MatchString(last) {
		list = append(list, last+monitor)
	}
	return list
}

// follow polls an operation to its end and compares that with the recorded
// end. Differences are the request's that began it. It returns why it could not be followed.
func (p *player) follow(ctx context.Context, i int, op *operation) string {
	if op.done {
		return ""
	}
	if op.url == "" {
		return "the endpoint gave no URL to poll this operation by"
	}
	op.done = true
	end := p.lastPoll(i, op)
	begun := &p.requests[op.request]
	tell := func(d Difference) {
		d.At = strings.TrimSpace("operation " + d.At)
		begun.Differences = append(begun.Differences, d)
		begun.Outcome = Differs
	}
	poll := &wire.Operation{}
	err := p.client.Until(ctx, poll, op.url, func(r *wire.Response) bool {
		word := r.Text("status")
		return r.Status != http.StatusAccepted && (word == "" || wire.Terminal(word))
	})
	if err != nil {
		tell(Difference{Kind: "state", Recorded: words(allWords(end.Body)), Answered: "no end: " + wire.Redact(err.Error())})
		return ""
	}
	got := Answer{Status: poll.Last.Status, Header: poll.Last.Header, Body: string(poll.Last.Body)}
	differences, notes := Compare("POLL", p.host, end, got)
	for _, d := range differences {
		tell(d)
	}
	begun.Notes = append(begun.Notes, notes...)
	p.learned.from(end, got)
	return ""
}

func allWords(body string) map[string]bool {
	all := map[string]bool{}
	for _, ws := range stateWords(decode(body)) {
		for w := range ws {
			all[w] = true
		}
	}
	return all
}

// lastPoll is the recorded end of the operation that the exchange at i polls: the last poll before another operation takes its URL.
func (p *player) lastPoll(i int, op *operation) Answer {
	end := p.cassette.Exchanges[i].Answer
	mine := map[string]bool{}
	for _, k := range operationKeys(p.cassette.Exchanges[i].URL) {
		mine[k] = true
	}
	for _, e := range p.cassette.Exchanges[i:] {
		for _, k := range []string{"Azure-AsyncOperation", "Location"} {
			for _, key := range operationKeys(e.Answer.Header.Get(k)) {
				if e.Method != http.MethodGet && mine[key] {
					return end
				}
			}
		}
		for _, key := range operationKeys(e.URL) {
			if e.Method == http.MethodGet && mine[key] && e.Answer.Status < 500 {
				end = e.Answer
				break
			}
		}
	}
	return end
}
