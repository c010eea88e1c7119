// Checks proofs with golang.org/x/mod/sumdb/tlog, which shares no code with ours. One JSON document
// on standard input; the number of proofs that were accepted on standard output.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/tlog"
)

type proof struct {
	OldSize int64
	OldRoot tlog.Hash
	NewSize int64
	NewRoot tlog.Hash
	Path    []tlog.Hash
}

func main() {
	var proofs []proof
	if err := json.NewDecoder(os.Stdin).Decode(&proofs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	accepted := 0
	for _, p := range proofs {
		if tlog.CheckTree(p.Path, p.NewSize, p.NewRoot, p.OldSize, p.OldRoot) == nil {
			accepted++
		}
	}
	fmt.Println(accepted)
}
