"""SERVES: what every gRPC process of the shop does alike: errors, validation, health, logs, drain."""
