"""What runs on a domain controller: capture changed passwords as ciphertext, keep them safe, deliver them."""

__version__ = "0.1.0"
