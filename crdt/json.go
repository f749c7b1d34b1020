package crdt

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
)

// The JSON forms show what a state says, not what it knows: they are for people,
// and for programs that only read. There is no way back.

// marshalSet returns the elements as an array, in the order of their JSON.
func marshalSet[E any](elements iter.Seq[E]) ([]byte, error) {
	forms := []json.RawMessage{}
	for element := range elements {
		form, err := json.Marshal(element)
		if err != nil {
			return nil, err
		}
		forms = append(forms, form)
	}
	slices.SortFunc(forms, func(x, y json.RawMessage) int { return bytes.Compare(x, y) })
	return json.Marshal(forms)
}

// marshalMap returns an object. Keys whose JSON is not a string are that JSON, in
// a string.
func marshalMap[K, V any](all iter.Seq2[K, V]) ([]byte, error) {
	object := map[string]V{}
	for key, value := range all {
		form, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		name := string(form)
		if form[0] == '"' {
			if err := json.Unmarshal(form, &name); err != nil {
				return nil, err
			}
		}
		object[name] = value
	}
	return json.Marshal(object)
}
