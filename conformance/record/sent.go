package record

import "context"

// sent is a request as its client sent it, kept for its answer.
type sent struct {
	uri  string
	body []byte
}

type sentKey struct{}

func withSent(ctx context.Context, s sent) context.Context {
	return context.WithValue(ctx, sentKey{}, s)
}

func sentOf(ctx context.Context) (sent, bool) {
	s, ok := ctx.Value(sentKey{}).(sent)
	return s, ok
}
