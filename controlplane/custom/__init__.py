"""Custom resources: kinds that the users of a lab bring along, served like the built-in ones.

    CustomResourceDefinition --written--> definitions.py --a row a version--> the table of kinds --> API, HTTP, kubectl
                                             |--> kind.py      what a row says, read from the definition
                                             |--> structural.py  the OpenAPI schema: prune, default, validate
                                             `--> json_path.py   cells of additionalPrinterColumns

All versions of a kind are one kind of object, stored in the storage version; the others differ in apiVersion only
(conversion `None`). Rules in CEL (x-kubernetes-validations) and conversion webhooks are kept, but do not act.

Source: Kubernetes documentation "Extend the Kubernetes API with CustomResourceDefinitions".
"""
