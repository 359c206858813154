"""A stand-in for `curl` on machines without it: the few options that the README uses, and no other."""

import argparse
import sys

import httpx


def main() -> None:
    """Send one POST and print the body of its answer."""
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("-s", action="store_true", required=True)
    parser.add_argument("-u", metavar="NAME:SECRET")
    parser.add_argument("-H", metavar="NAME: VALUE", action="append", default=[])
    parser.add_argument("-d", metavar="BODY", required=True)
    parser.add_argument("url")
    given = parser.parse_args()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    headers |= {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in given.H)}
    # As curl does: a body from standard input loses its line breaks.
    body = sys.stdin.read().replace("\n", "").replace("\r", "") if given.d == "@-" else given.d
    credential = tuple(given.u.split(":", 1)) if given.u else None
    answer = httpx.post(
        given.url, content=body.encode(), headers=headers, auth=credential, timeout=30, trust_env=False
    )
    sys.stdout.write(answer.text)


if __name__ == "__main__":
    main()
