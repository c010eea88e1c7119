// Reads messages as Go's standard library does. One JSON line in, one out; see oracle.ts.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"sort"
	"strings"
	"unicode/utf8"
)

type asked struct {
	Kind string `json:"kind"`
	Type string `json:"type"`
	Body []byte `json:"body"`
}

type answer struct {
	Reading *string `json:"reading"`
}

var operations = map[string]bool{}

func encode(value any) string {
	switch v := value.(type) {
	case nil:
		return "n"
	case bool:
		if v {
			return "t"
		}
		return "f"
	case float64:
		// Zero has one sign here: a language with integers has no other.
		if v == 0 {
			v = 0
		}
		return fmt.Sprintf("d%016x", math.Float64bits(v))
	case string:
		return "s" + hex.EncodeToString([]byte(v))
	case []any:
		parts := make([]string, len(v))
		for i, one := range v {
			parts[i] = encode(one)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		members := make([]string, 0, len(v))
		for name, one := range v {
			members = append(members, encode(name)+":"+encode(one))
		}
		sort.Strings(members)
		return "{" + strings.Join(members, ",") + "}"
	}
	return "?"
}

type call struct {
	Method string
	Params struct {
		Name string
		URI  string
	}
}

func callOf(text string) string {
	var found call
	// The first document of many, by names in any case.
	if json.NewDecoder(strings.NewReader(text)).Decode(&found) != nil || !operations[found.Method] {
		return ""
	}
	subject := found.Params.Name
	if subject == "" {
		subject = found.Params.URI
	}
	return found.Method + "|" + subject
}

func readCall(body []byte) (string, bool) {
	text := string(body)
	candidates := append([]string{text}, strings.Split(text, "\n")...)
	if at := strings.IndexByte(text, '{'); at > 0 {
		candidates = append(candidates, text[at:])
	}
	if values, err := url.ParseQuery(text); err == nil {
		if operations[values.Get("method")] {
			return values.Get("method") + "|", true
		}
		for name, all := range values {
			candidates = append(append(candidates, name), all...)
		}
	}
	for _, candidate := range candidates {
		if found := callOf(candidate); found != "" {
			return found, true
		}
	}
	return "", false
}

func readForm(text string) (string, bool) {
	if _, err := url.ParseQuery(text); err != nil {
		return "", false
	}
	pairs := []any{}
	for _, part := range strings.Split(text, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		plainName, err := url.QueryUnescape(name)
		plainValue, err2 := url.QueryUnescape(value)
		if err != nil || err2 != nil || !utf8.ValidString(plainName+plainValue) {
			return "", false
		}
		pairs = append(pairs, []any{plainName, plainValue})
	}
	return encode(pairs), true
}

func readHead(body []byte) (string, bool) {
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(body)))
	if err != nil {
		return "", false
	}
	fields := [][2]string{{"host", request.Host}}
	for name, values := range request.Header {
		for _, value := range values {
			fields = append(fields, [2]string{strings.ToLower(name), value})
		}
	}
	sort.Slice(fields, func(i, j int) bool {
		return fields[i][0]+"\x00"+fields[i][1] < fields[j][0]+"\x00"+fields[j][1]
	})
	text, err := json.Marshal([]any{request.Method, request.RequestURI, fields})
	return string(text), err == nil
}

// Lines as bufio.Scanner gives them, which is what readers in Go go by.
func readEvents(text string) string {
	events, fields, data := []any{}, map[string]string{}, []string{}
	end := func() {
		event := []any{}
		for _, name := range []string{"event", "id", "retry"} {
			if value, ok := fields[name]; ok {
				event = append(event, []any{name, value})
			}
		}
		if len(data) > 0 {
			event = append(event, []any{"data", strings.Join(data, "\n")})
		}
		if len(event) > 0 {
			events = append(events, event)
		}
		fields, data = map[string]string{}, []string{}
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			end()
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data = append(data, value)
		case "event", "id", "retry":
			fields[name] = value
		}
	}
	return encode(events)
}

func read(one asked) (string, bool) {
	text := string(one.Body)
	switch one.Kind {
	case "json":
		var value any
		if json.Unmarshal(one.Body, &value) != nil {
			return "", false
		}
		return encode(value), true
	case "call":
		return readCall(one.Body)
	case "form":
		return readForm(text)
	case "path":
		parsed, err := url.ParseRequestURI(text)
		if err != nil {
			return "", false
		}
		return path.Clean(parsed.Path), true
	case "media":
		essence, params, err := mime.ParseMediaType(text)
		if err != nil {
			return "", false
		}
		return essence + ";" + strings.ToLower(params["charset"]), true
	case "events":
		return readEvents(text), true
	case "head":
		return readHead(one.Body)
	}
	return "", false
}

func main() {
	var names []string
	if err := json.Unmarshal([]byte(os.Getenv("FUZZ_OPERATIONS")), &names); err != nil {
		panic(err)
	}
	for _, name := range names {
		operations[name] = true
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for lines.Scan() {
		var one asked
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			panic(err)
		}
		reading, ok := read(one)
		result := answer{}
		if ok {
			result.Reading = &reading
		}
		if err := out.Encode(result); err != nil {
			panic(err)
		}
	}
}
