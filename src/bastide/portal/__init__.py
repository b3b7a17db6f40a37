"""The portal: pages for people, made on the server. Every action is a form, so that all of it works without JavaScript."""
