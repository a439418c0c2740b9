"""JSON Web Tokens: parsing, keys, signatures. Sans-io; the filter is filters/jwt_authn.py."""
