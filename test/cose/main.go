// Verifies statements of batches with github.com/veraison/go-cose, which shares no code with ours.
// One JSON document on standard input; for each statement `verified` or the fault on standard
// output.
package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/veraison/go-cose"
)

type input struct {
	PublicKey  string
	KeyId      string
	Statements []string
}

func verify(statement string, key ed25519.PublicKey, keyId string) error {
	data, err := hex.DecodeString(statement)
	if err != nil {
		return err
	}
	var message cose.Sign1Message
	if err := message.UnmarshalCBOR(data); err != nil {
		return err
	}
	if kid, ok := message.Headers.Protected[cose.HeaderLabelKeyID].([]byte); !ok || string(kid) != keyId {
		return fmt.Errorf("another key id")
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, key)
	if err != nil {
		return err
	}
	return message.Verify(nil, verifier)
}

func main() {
	var given input
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	key, err := hex.DecodeString(given.PublicKey)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, statement := range given.Statements {
		if err := verify(statement, ed25519.PublicKey(key), given.KeyId); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("verified")
		}
	}
}
