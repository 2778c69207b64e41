package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Made is something that we created and must delete again.
type Made struct{ Path, Version string }

// Create sends a PUT and, unless it is refused, remembers the resource for CleanUp.
// An answer that never came is remembered too: the resource may be there.
func (c *Client) Create(ctx context.Context, path, version string, body any) (*Response, error) {
	resp, err := c.Do(ctx, Request{Method: http.MethodPut, URL: path, Version: version, Body: body})
	if err != nil || resp.Status < 400 {
		c.Track(path, version)
	}
	return resp, err
}

// Track remembers a resource that came to be in another way, such as by a deployment.
func (c *Client) Track(path, version string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.made {
		if strings.EqualFold(m.Path, path) {
			return
		}
	}
	c.made = append(c.made, Made{path, version})
}

// Untrack forgets a resource that is known to be gone.
func (c *Client) Untrack(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range c.made {
		if strings.EqualFold(m.Path, path) {
			c.made = append(c.made[:i], c.made[i+1:]...)
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
