package arm

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sendPhrased answers with a reason phrase of its own, which net/http does not:
// it takes the connection over, answers, and closes it. false: there is none to
// take (HTTP/2, say), and the answer is to be given with the usual phrase.
func (x *exchange) sendPhrased(status int, phrase string, body []byte) bool {
	phrase = strings.NewReplacer("\r", " ", "\n", " ").Replace(phrase)
	if r, ok := x.w.(*recorder); ok {
		r.phrase = phrase
		return false
	}
	if x.r.ProtoMajor != 1 || x.r.Method == http.MethodHead {
		return false
	}
	h := x.w.Header().Clone()
	conn, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	h["Connection"], h["Content-Type"], h["Content-Length"] = []string{"close"}, typeJSON, []string{strconv.Itoa(len(body))}
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	_, _ = fmt.Fprintf(buffered, "HTTP/1.1 %d %s\r\n", status, phrase)
	_ = h.Write(buffered)
	_, _ = buffered.WriteString("\r\n")
	_, _ = buffered.Write(body)
	_ = buffered.Flush()
	return true
}
