package wire

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// settle is how long an implementation whose clock was moved gets to do what fell due.
const settle = 5 * time.Millisecond

// faultsMost is how many 429 and 5xx one poll survives, as clients retry them a few times.
const faultsMost = 5

// Operation is where a long-running operation ended.
type Operation struct {
	// Status is Succeeded, Failed or Canceled as the service spelled it; "" where the answer was final at once.
	Status string
	// Last is the last answer of the poll, First the one that started it.
	First, Last *Response
	// Polls is how many requests it took.
	Polls int
}

// Succeeded says whether the operation came to a good end.
func (o *Operation) Succeeded() bool {
	if o.Status == "" {
		return o.First.OK() && o.Last.OK()
	}
	return strings.EqualFold(o.Status, "Succeeded")
}

// Await follows the operation that first started: by Azure-AsyncOperation,
// else by Location, else, for a PUT or PATCH, by provisioningState of the resource itself.
func (c *Client) Await(ctx context.Context, first *Response) (*Operation, error) {
	op := &Operation{First: first, Last: first}
	if !first.OK() {
		return op, nil
	}
	if u := first.Header.Get("Azure-AsyncOperation"); u != "" {
		return op, c.Until(ctx, op, u, func(r *Response) bool {
			op.Status = r.Text("status")
			return Terminal(op.Status) || r.Status >= 400
		})
	}
	if u := first.Header.Get("Location"); u != "" && first.Status == http.StatusAccepted {
		return op, c.Until(ctx, op, u, func(r *Response) bool {
			if r.Status == http.StatusAccepted {
				return false
			}
			op.Status = "Succeeded"
			if !r.OK() {
				op.Status = "Failed"
			}
			return true
		})
	}
	if first.Method != http.MethodPut && first.Method != http.MethodPatch {
		return op, nil
	}
	if op.Status = first.Text("properties", "provisioningState"); op.Status == "" || Terminal(op.Status) {
		return op, nil
	}
	return op, c.Until(ctx, op, first.URL, func(r *Response) bool {
		op.Status = r.Text("properties", "provisioningState")
		return op.Status == "" || Terminal(op.Status) || r.Status >= 400
	})
}

// Until GETs u until done says so, waiting as the answers ask. op's Last and Polls are kept up to date.
func (c *Client) Until(ctx context.Context, op *Operation, u string, done func(*Response) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.PollLimit,
		fmt.Errorf("no end after %s of polling %s", c.cfg.PollLimit, Redact(u)))
	defer cancel()
	for faults := 0; ; {
		if err := c.Wait(ctx, c.Pause(op.Last)); err != nil {
			return fmt.Errorf("%w; the last answer: %s", err, op.Last)
		}
		r, err := c.once(ctx, Request{Method: http.MethodGet, URL: u})
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		op.Last = r
		op.Polls++
		if r.Status == http.StatusTooManyRequests || r.Status >= 500 {
			if faults++; faults > faultsMost {
				return fmt.Errorf("%d faults while polling, the last: %s", faults, r)
			}
			continue
		}
		if done(r) {
			return nil
		}
	}
}

// Pause is the wait that an answer asks for by Retry-After, within bounds.
func (c *Client) Pause(r *Response) time.Duration {
	d := c.cfg.PollEvery
	if r != nil {
		if n, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && n >= 0 {
			d = time.Duration(n) * time.Second
		}
	}
	return min(d, c.cfg.PollMost)
}

// Wait sleeps for d, or moves the implementation's clock by it.
func (c *Client) Wait(ctx context.Context, d time.Duration) error {
	if c.cfg.Advance != nil {
		c.cfg.Advance(d)
		d = settle
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Terminal says whether a state word, in any case, ends an operation.
func Terminal(state string) bool {
	switch strings.ToLower(state) {
	case "succeeded", "failed", "canceled", "cancelled":
		return true
	}
	return false
}
