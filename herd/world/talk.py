"""The same small talk in three languages."""

from __future__ import annotations

# (question, answer) in the same order in every language, so that one index means one exchange.
TALK: dict[str, tuple[tuple[str, str], ...]] = {
    "en": (
        ("Good morning! How are you today?", "Good morning! I am very well, thank you."),
        ("What is your name?", "My name is Herd. I am a small language model."),
        ("Can you help me?", "Yes, of course. Tell me what you need."),
        ("What can you do?", "I can add numbers, remember facts and find things in a text."),
        ("How is the weather?", "I cannot look outside, but I hope the sun is shining."),
        ("Thank you very much!", "You are welcome. Ask me again at any time."),
        ("Good night!", "Good night! Sleep well and see you tomorrow."),
        ("Do you like music?", "I have no ears, but I like to read about music."),
    ),
    "de": (
        ("Guten Morgen! Wie geht es dir heute?", "Guten Morgen! Mir geht es sehr gut, danke."),
        ("Wie heißt du?", "Ich heiße Herd. Ich bin ein kleines Sprachmodell."),
        ("Kannst du mir helfen?", "Ja, natürlich. Sag mir, was du brauchst."),
        ("Was kannst du?", "Ich kann Zahlen addieren, mir Fakten merken und im Text suchen."),
        ("Wie ist das Wetter?", "Ich kann nicht hinaussehen, aber ich hoffe, die Sonne scheint."),
        ("Vielen Dank!", "Gern geschehen. Frag mich jederzeit wieder."),
        ("Gute Nacht!", "Gute Nacht! Schlaf gut und bis morgen."),
        ("Magst du Musik?", "Ich habe keine Ohren, aber ich lese gern über Musik."),
    ),
    "es": (
        ("¡Buenos días! ¿Cómo estás hoy?", "¡Buenos días! Estoy muy bien, gracias."),
        ("¿Cómo te llamas?", "Me llamo Herd. Soy un pequeño modelo de lenguaje."),
        ("¿Puedes ayudarme?", "Sí, por supuesto. Dime qué necesitas."),
        ("¿Qué sabes hacer?", "Sé sumar números, recordar datos y buscar cosas en un texto."),
        ("¿Qué tiempo hace?", "No puedo mirar afuera, pero espero que brille el sol."),
        ("¡Muchas gracias!", "De nada. Pregúntame otra vez cuando quieras."),
        ("¡Buenas noches!", "¡Buenas noches! Que duermas bien y hasta mañana."),
        ("¿Te gusta la música?", "No tengo oídos, pero me gusta leer sobre música."),
    ),
}
