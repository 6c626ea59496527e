"""JSON Web Tokens: what they must say, the keys of their issuers, checking them."""
