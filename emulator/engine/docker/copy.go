package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"time"

	containertypes "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"lazulite.dev/emulator/engine"
)

// CopyIn implements engine.Copier. Owners are taken from the stream.
func (c *container) CopyIn(ctx context.Context, folder string, tar io.Reader) error {
	_, err := c.engine.daemon.api.CopyToContainer(ctx, c.id, client.CopyToContainerOptions{DestinationPath: folder, Content: tar, CopyUIDGID: true})
	if err != nil {
		return orContext(ctx, wrong("copying into "+c.name+" at "+folder, err))
	}
	return nil
}

// CopyOut implements engine.Copier.
func (c *container) CopyOut(ctx context.Context, file string) (io.ReadCloser, error) {
	// Of a link Docker would give the link: it has to be asked for what that leads to.
	for range 40 {
		s, err := c.engine.daemon.api.ContainerStatPath(ctx, c.id, client.ContainerStatPathOptions{Path: file})
		if err != nil {
			return nil, wrong("copying "+file+" out of "+c.name, err)
		}
		if s.Stat.LinkTarget == "" {
			r, err := c.engine.daemon.api.CopyFromContainer(ctx, c.id, client.CopyFromContainerOptions{SourcePath: file})
			if err != nil {
				return nil, wrong("copying "+file+" out of "+c.name, err)
			}
			return r.Content, nil
		}
		if file = s.Stat.LinkTarget; !path.IsAbs(file) {
			return nil, fmt.Errorf("docker: link to %q in %s", file, c.name)
		}
	}
	return nil, fmt.Errorf("%w: too many links at %s", engine.ErrInvalid, file)
}

// Stats implements engine.Statser.
func (c *container) Stats(ctx context.Context) (engine.Stats, error) {
	r, err := c.engine.daemon.api.ContainerStats(ctx, c.id, client.ContainerStatsOptions{})
	if err != nil {
		return engine.Stats{}, wrong("asking what "+c.name+" uses", err)
	}
	defer r.Body.Close()
	var s containertypes.StatsResponse
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		return engine.Stats{}, fmt.Errorf("docker: asking what %s uses: %w", c.name, err)
	}
	if c.over() || s.Read.IsZero() {
		return engine.Stats{}, engine.ErrStopped
	}
	out := engine.Stats{
		At: s.Read, CPU: time.Duration(s.CPUStats.CPUUsage.TotalUsage), Limit: int64(s.MemoryStats.Limit), Processes: int(s.PidsStats.Current),
		Memory: int64(s.MemoryStats.Usage),
	}
	// What the page cache holds and would give back; cgroup v1 and v2 name it apart.
	for _, name := range []string{"total_inactive_file", "inactive_file"} {
		if cache, ok := s.MemoryStats.Stats[name]; ok && cache < s.MemoryStats.Usage {
			out.Memory -= int64(cache)
			break
		}
	}
	for _, n := range s.Networks {
		out.Received += int64(n.RxBytes)
		out.Sent += int64(n.TxBytes)
	}
	for _, b := range s.BlkioStats.IoServiceBytesRecursive {
		switch b.Op {
		case "Read", "read":
			out.ReadBytes += int64(b.Value)
		case "Write", "write":
			out.Wrote += int64(b.Value)
		}
	}
	return out, nil
}
