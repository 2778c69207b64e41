package assets

// NewWithBlobs makes a Service over other storage.
func NewWithBlobs(cfg Config, b blobs) (*Service, error) { return newService(cfg, b) }
