"""A stateful stand-in for Stripe on this machine; run as `python -m billing.sandbox`.

It is a service outside the portal: a process, a store and a clock of its own. The portal talks to
it only through the `stripe` package and its webhooks, exactly as it talks to Stripe.
"""
