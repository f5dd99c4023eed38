"""Emoji and emoticons and how they feel, in any language."""

import re

EMOJI: dict[str, float] = {
    **dict.fromkeys("😀😃😄😁😊☺🙂😉😎👍👌💪🙏👏🎉🎊✨⭐🌟✅💯🚀", 2.0),
    **dict.fromkeys("😍🥰😘❤💙💚💛💜🧡🖤💖💕🤩🥳🏆", 3.0),
    **dict.fromkeys("😂🤣😆😅", 1.0),
    **dict.fromkeys("😕🙁☹😐😑😒🙄😬😟😞😔😓😥😫😩💔⚠", -1.6),
    **dict.fromkeys("😢😭😠😡🤬👎😤😖😣🤮🤢💩🤦😱🐛❌💀", -2.4),
}

EMOTICONS: tuple[tuple[re.Pattern[str], float], ...] = (
    (re.compile(r"(?<!\w)[:;=8][-o']?[)\]D](?!\w)|(?<!\w)\^_*\^|<3(?!\d)|(?<!\w)(?:xD|XD)(?!\w)"), 2.0),
    (
        re.compile(r"(?<!\w)[:=][-o']?[(\[](?!\w)|(?<!\w)[:=]-?[/|](?![/\w])|(?<!\w)>:[-]?\(|(?<!\w)[dD]:(?!\w)|-_+-"),
        -2.0,
    ),
)
