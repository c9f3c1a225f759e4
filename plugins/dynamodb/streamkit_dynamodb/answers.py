"""Reads the service's answers so that a cut one is an error, and reads items several times faster than boto3.

boto3 does not compare a body with its Content-Length, and takes a body that is no JSON for an empty answer: a cut GetItem
looks like «no such lease», a cut Scan like «no lease at all». This parser takes the place of botocore's for this client alone:
it checks length and checksum of every answer, and JSON of every answer that is no error. Items are left as the service writes
them, {"S": …}, {"N": …}, with binary values as base64; all other answers are botocore's own.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from botocore.parsers import JSONParser, ResponseParserError, ResponseParserFactory

from streamkit.errors import StoreUnavailableError

__all__ = ["Answer", "CutAnswerError", "Item", "WholeAnswers", "whole"]

Item: TypeAlias = dict[str, dict[str, Any]]
"""A row as the service has it: column -> {type: value}; numbers are text."""
Answer: TypeAlias = Mapping[str, Any]

_PLAIN = {"GetItem", "Scan", "BatchExecuteStatement"}


class CutAnswerError(ResponseParserError):  # type: ignore[misc]  # botocore has no types
    """An answer that is not all of what the service has sent."""


class WholeAnswers(ResponseParserFactory):  # type: ignore[misc]
    """Registered as `response_parser_factory` of a botocore session."""

    def create_parser(self, protocol_name: str) -> object:
        return _Parser(**self._defaults) if protocol_name == "json" else super().create_parser(protocol_name)


class _Parser(JSONParser):  # type: ignore[misc]
    def parse(self, response: dict[str, Any], shape: object) -> object:
        body, headers = response["body"], response["headers"]
        _check_length(body, headers)
        _check_sum(body, headers)
        if response["status_code"] >= 300:
            return super().parse(response, shape)
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise CutAnswerError(f"the answer is no JSON: {len(body)} bytes") from error
        if not isinstance(answer, dict):
            raise CutAnswerError("the answer is no JSON object")
        if response.get("context", {}).get("operation_name") not in _PLAIN:
            return super().parse(response, shape)
        answer["ResponseMetadata"] = {"HTTPStatusCode": response["status_code"], "RequestId": headers.get("x-amzn-requestid", "")}
        return answer


def _check_length(body: bytes, headers: Mapping[str, str]) -> None:
    said = headers.get("content-length", "")
    if said.isdigit() and int(said) != len(body) and not headers.get("content-encoding"):
        raise CutAnswerError(f"the answer was cut: {len(body)} of {said} bytes")


def _check_sum(body: bytes, headers: Mapping[str, str]) -> None:
    said = headers.get("x-amz-crc32", "")
    if said.isdigit() and int(said) != binascii.crc32(body) and not headers.get("content-encoding"):
        raise CutAnswerError(f"the answer was damaged: {len(body)} bytes with another checksum")


def whole(answer: Answer, names: Sequence[str], doing: str) -> Answer:
    """The answer itself, if it has everything that a whole one has. Raises StoreUnavailableError."""
    missing = [name for name in names if answer.get(name) is None]
    if missing:
        raise StoreUnavailableError(f"DynamoDB, {doing}: an answer without {', '.join(missing)} was cut")
    return answer
