"""What an object must fulfil beyond its structure: one file a family of kinds.

Every `validate` takes the new object (defaulted), the old one on an update (None on a creation) and the list
of errors to add to. Paths and words are those of a real API server, for they are what students will search
for.

Source: k8s.io/kubernetes pkg/apis/*/validation; k8s.io/apimachinery pkg/api/validation.
"""
