"""The pod and service runtime."""
