"""Composes the event sources that are no queues: who opens which kind."""

from collections.abc import Mapping

from hearth_cli.deliveries_house import PostOffice
from hearth_gateway.adapters.redis_channels import RedisChannels
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_stream import RedisStreams
from hearth_gateway.core.mapping import SourceKind
from hearth_gateway.sources.channel_source import ChannelSources
from hearth_gateway.sources.opening import Opener
from hearth_gateway.sources.ports import Surroundings
from hearth_gateway.sources.stream_source import StreamSources


def source_openers(
    connections: RedisConnections, around: Surroundings, office: PostOffice, *, run: str
) -> Mapping[SourceKind, Opener]:
    """By kind of source. `run` names this run of Hearth."""
    streams = StreamSources(RedisStreams(connections, run=run), around, office.courier)
    channels = ChannelSources(RedisChannels(connections), around, office.courier)
    return {SourceKind.STREAM: streams.open, SourceKind.CHANNEL: channels.open}
