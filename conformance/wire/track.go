package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Made is something that we created and must delete again.
type Made struct{ Path, Version string }

// Create sends a PUT and, unless it is refused, remembers the resource for CleanUp.
// It is in the journal before it is asked for; an answer that never came leaves it there, for the resource may be.
func (c *Client) Create(ctx context.Context, path, version string, body any) (*Response, error) {
	known := c.tracks(path)
	if err := c.Track(path, version); err != nil {
		return nil, err
	}
	resp, err := c.Do(ctx, Request{Method: http.MethodPut, URL: path, Version: version, Body: body})
	if err == nil && resp.Status >= 400 && !known {
		c.Untrack(path)
	}
	return resp, err
}

func (c *Client) tracks(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.made, func(m Made) bool { return strings.EqualFold(m.Path, path) })
}

// Track remembers a resource that came to be in another way, such as by a
// deployment. The error is the journal's.
func (c *Client) Track(path, version string) error {
	if c.tracks(path) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.journal.made(Made{path, version}); err != nil {
		return err
	}
	c.made = append(c.made, Made{path, version})
	return nil
}

// Untrack forgets a resource that is known to be gone.
func (c *Client) Untrack(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range c.made {
		if strings.EqualFold(m.Path, path) {
			c.made = append(c.made[:i], c.made[i+1:]...)
			c.journal.gone(m.Path)
			return
		}
	}
}

// Tracked lists what is not deleted yet, oldest first.
func (c *Client) Tracked() []Made {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Made(nil), c.made...)
}

// CleanUp deletes everything tracked, newest first, and waits for each. What
// could not be deleted stays tracked and is named in the error.
func (c *Client) CleanUp(ctx context.Context) error {
	var errs []error
	made := c.Tracked()
	for i := len(made) - 1; i >= 0; i-- {
		if err := c.Remove(ctx, made[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s was not deleted: %w", made[i].Path, err))
		}
	}
	return errors.Join(errs...)
}

// Remove deletes one resource, waits until it is gone and forgets it.
func (c *Client) Remove(ctx context.Context, m Made) error {
	resp, err := c.Do(ctx, Request{Method: http.MethodDelete, URL: m.Path, Version: m.Version})
	if err != nil {
		return err
	}
	if resp.Status == http.StatusNotFound {
		c.Untrack(m.Path)
		return nil
	}
	op, err := c.Await(ctx, resp)
	if err != nil {
		return err
	}
	// An operation's document may be gone with its resource; then the resource itself has the last word.
	if !op.Succeeded() && op.Last.Status != http.StatusNotFound {
		return errors.New(op.Last.String())
	}
	c.Untrack(m.Path)
	return nil
}
