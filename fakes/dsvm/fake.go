package dsvm
