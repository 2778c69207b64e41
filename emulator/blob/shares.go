package blob

var fileOperations = []operation{}

func (k *container) quota() int { return 5120 }
