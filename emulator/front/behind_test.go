package front_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lazulite.dev/emulator/front"
)

// behind has hosts that are dialled: whatever their name and port, one server
// and one that repeats lines listen there.
func behind(t *testing.T) *front.Front {
	web := httptest.NewServer(echo("web"))
	t.Cleanup(web.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	dial := func(ctx context.Context, name, port string) (net.Conn, error) {
		switch port {
		case "80", "8000":
			return net.Dial("tcp", web.Listener.Addr().String())
		case "7":
			return net.Dial("tcp", l.Addr().String())
		}
		return nil, fmt.Errorf("%s has no port %s", name, port)
	}
	return start(t, func(c *front.Config) {
		c.Hosts = append([]front.Host{{Pattern: "**.containers.io", Dial: dial}, {Pattern: "198.18.0.0/15", Dial: dial}}, c.Hosts...)
		c.Alias = func(_ context.Context, name string) string {
			return map[string]string{"model.contoso.com": "g.eastus.containers.io", "lost.contoso.com": "nowhere.net"}[name]
		}
		c.Offline = true
	})
}

func TestHostsThatAreDialled(t *testing.T) {
	f := behind(t)
	inProcess := &http.Client{Transport: f.Transport()}
	for _, c := range []struct {
		name   string
		client *http.Client
		url    string
		status int
		body   string
	}{
		{"proxied", proxied(t, f), "http://a.b.containers.io:8000/x?y=z", 200, "web: GET /x?y=z host=a.b.containers.io:8000"},
		{"proxied, its usual port", proxied(t, f), "http://a.containers.io/", 200, "web: GET / host=a.containers.io "},
		{"proxied, by address", proxied(t, f), "http://198.19.3.4:8000/", 200, "host=198.19.3.4:8000"},
		{"a name that stands for one", proxied(t, f), "http://Model.Contoso.com:8000/x", 200, "web: GET /x host=Model.Contoso.com:8000"},
		{"the same in process", inProcess, "http://model.contoso.com:8000/x", 200, "web: GET /x"},
		{"a name that stands for none", proxied(t, f), "http://lost.contoso.com/", 403, "offline"},
		{"in process", inProcess, "http://a.containers.io:8000/p", 200, "web: GET /p"},
		{"direct", direct(t, f), "http://a.containers.io/d", 200, "web: GET /d"},
		{"nothing listens", proxied(t, f), "http://a.containers.io:9/", 502, "has no port 9"},
		{"another range", proxied(t, f), "http://198.20.0.1/", 403, "offline"},
	} {
		r, err := c.client.Get(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != c.status || !strings.Contains(string(body), c.body) {
			t.Errorf("%s: %d %s", c.name, r.StatusCode, body)
		}
	}
}

// A CONNECT to any port is a tunnel, of whatever is spoken there; its end is passed on.
func TestTunnelToWhatIsDialled(t *testing.T) {
	f := behind(t)
	open := func(target string) (net.Conn, *bufio.Reader, string) {
		c, err := net.Dial("tcp", f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
		r := bufio.NewReader(c)
		answer, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
		if err != nil {
			t.Fatal(err)
		}
		return c, r, answer.Status
	}
	c, r, status := open("a.containers.io:7")
	_, _ = io.WriteString(c, "not HTTP\n")
	line, err := r.ReadString('\n')
	if !strings.HasPrefix(status, "200") || err != nil || line != "not HTTP\n" {
		t.Errorf("%s: %q, %v", status, line, err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after its end: %v", err)
	}
	if _, _, status := open("198.18.0.1:9"); !strings.HasPrefix(status, "502") {
		t.Errorf("nothing listens: %s", status)
	}
}
