package pool

import "path/filepath"

// room is how many nodes more an account may have.
func (p *Pool) room(a account, cores int) int {
	if p.cfg.Cores == nil {
		return int(^uint(0) >> 2)
	}
	limit := p.cfg.Cores(a.name, a.lowPriority)
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, (limit-p.cores[a])/max(1, cores))
}

// take takes the cores of up to n nodes, and says of how many.
func (p *Pool) take(a account, cores, n int) int {
	if n <= 0 {
		return 0
	}
	limit := 0
	if p.cfg.Cores != nil {
		limit = p.cfg.Cores(a.name, a.lowPriority)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cfg.Cores != nil {
		// Another cluster may have been quicker than Next knew.
		n = min(n, max(0, (limit-p.cores[a])/max(1, cores)))
	}
	p.cores[a] += n * cores
	return n
}

// giveBack a node's cores, and have the account's other clusters look whether they can use them.
func (p *Pool) giveBack(a account, cores int) {
	p.mu.Lock()
	p.cores[a] -= cores
	var others []*cluster
	if p.cfg.Cores != nil {
		for _, c := range p.clusters {
			if c.acct == a {
				others = append(others, c)
			}
		}
	}
	p.mu.Unlock()
	for _, c := range others {
		c.poke()
	}
}

func (p *Pool) clusterDir(id string) string { return filepath.Join(p.cfg.Dir, "clusters", id) }

// lookup finds a job that is known to be there.
func (p *Pool) lookup(id string) *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.jobs[id]
}

func (p *Pool) jobsOf(c *cluster) []*job {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*job
	for _, j := range p.jobs {
		if j.cluster == c {
			out = append(out, j)
		}
	}
	return out
}
