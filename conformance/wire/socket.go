package wire

import (
	"context"
	"strings"

	"github.com/coder/websocket"
)

// Converse opens a websocket, sends texts, each as a frame, and hears until a
// text was heard or the other end closes. The error is of the connection, or
// tells how it was closed; nil if the text came.
func (c *Client) Converse(ctx context.Context, uri string, say []string, until string) (heard string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Request)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, uri, &websocket.DialOptions{HTTPClient: c.sockets})
	if err != nil {
		return "", err
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(maxBody)
	for _, text := range say {
		// One that has been refused by then says so when it is read.
		if err := ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			break
		}
	}
	var all strings.Builder
	for !strings.Contains(all.String(), until) {
		_, frame, err := ws.Read(ctx)
		if err != nil {
			return all.String(), err
		}
		all.Write(frame)
	}
	return all.String(), nil
}
