"""client.py TRANSPORT PORT AUTHORITY : paho-mqtt against a server, over tcp, tls or ws."""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE_S = 10
SILENCE_S = 0.3

transport, port, authority = sys.argv[1], int(sys.argv[2]), sys.argv[3]
checks = 0


def check(what, expected, found):
    """Fails when something is not as expected."""
    global checks
    if expected != found:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")
    checks += 1


class Client:
    """A connection whose events are waited for one by one."""

    def __init__(self, name, version, password="for-this-test", clean=True, expiry_s=None, will=None):
        self.messages, self.events = queue.Queue(), queue.Queue()
        self.version = version
        options = {} if version == mqtt.MQTTv5 else {"clean_session": clean}
        self.mqtt = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=version,
            transport="websockets" if transport == "ws" else "tcp",
            reconnect_on_failure=False,
            **options,
        )
        self.mqtt.username_pw_set("admin", password)
        if transport == "tls":
            self.mqtt.tls_set(ca_certs=authority)
        if transport == "ws":
            self.mqtt.ws_set_options(path="/mqtt")
        if will:
            self.mqtt.will_set(will, "gone", qos=1)
        self.mqtt.on_message = lambda _client, _data, message: self.messages.put(message)
        self.mqtt.on_connect = lambda _client, _data, flags, reason, _properties: self.events.put((reason, flags))
        self.mqtt.on_subscribe = lambda _client, _data, _id, reasons, _properties: self.events.put(reasons)
        properties = {}
        if version == mqtt.MQTTv5:
            properties = {"clean_start": clean, "properties": Properties(PacketTypes.CONNECT)}
            if expiry_s is not None:
                properties["properties"].SessionExpiryInterval = expiry_s
        self.mqtt.connect("localhost", port, **properties)
        self.mqtt.loop_start()
        self.reason, self.flags = self.events.get(timeout=PATIENCE_S)

    def subscribe(self, topic, qos=0, **options):
        if self.version == mqtt.MQTTv5:
            self.mqtt.subscribe(topic, options=SubscribeOptions(qos=qos, **options))
        else:
            self.mqtt.subscribe(topic, qos)
        return [reason.value for reason in self.events.get(timeout=PATIENCE_S)]

    def publish(self, topic, payload, qos=0, **options):
        self.mqtt.publish(topic, payload, qos, **options).wait_for_publish(PATIENCE_S)

    def next(self):
        return self.messages.get(timeout=PATIENCE_S)

    def told(self):
        message = self.next()
        return message.topic, message.payload.decode()

    def rest(self):
        """The payloads of all that comes, one soon after the other."""
        payloads = []
        while True:
            try:
                payloads.append(self.messages.get(timeout=SILENCE_S).payload.decode())
            except queue.Empty:
                return payloads

    def leave(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def break_off(self):
        self.mqtt.socket().close()
        self.mqtt.loop_stop()


def same_in_both_versions(version):
    """What MQTT 3.1.1 and 5 have in common."""
    check("a wrong login", True, Client("wrong", version, password="wrong").reason.is_failure)
    subscriber, publisher = Client("s", version), Client("p", version)
    check("a login", False, publisher.reason.is_failure)
    for qos in (0, 1, 2):
        check("granted", [qos], subscriber.subscribe("Dog/#", qos))
        publisher.publish(f"Dog/a/{qos}", "x", qos)
        message = subscriber.next()
        check("a message", (f"Dog/a/{qos}", b"x", qos, False), (message.topic, message.payload, message.qos, message.retain))
    check("refused", True, subscriber.subscribe("Nothing/#")[0] >= 0x80)
    publisher.publish("Dog/kept", '{"name":"Rex"}', 1, retain=True)
    subscriber.next()
    late = Client("late", version)
    late.subscribe("Dog/+", 1)
    message = late.next()
    check("a retained message", ("Dog/kept", True), (message.topic, message.retain))
    publisher.publish("Dog/kept", "", 1, retain=True)
    late.leave()
    subscriber.leave()
    durable = {"clean": False, "expiry_s": 60}
    client = Client("durable", version, **durable)
    check("no session before", False, client.flags.session_present)
    client.subscribe("Dog/durable", 2)
    client.leave()
    for number in range(5):
        publisher.publish("Dog/durable", str(number), 2)
    client = Client("durable", version, **durable)
    check("the session", True, client.flags.session_present)
    check("what was missed", [("Dog/durable", str(number)) for number in range(5)], [client.told() for _ in range(5)])
    check("nothing more", [], client.rest())
    client.leave()
    Client("durable", version).leave()
    mourner = Client("mourner", version)
    mourner.subscribe("Dog/will", 1)
    Client("mortal", version, will="Dog/will").break_off()
    check("a will", ("Dog/will", "gone"), mourner.told())
    mourner.leave()
    publisher.leave()


def what_mqtt_5_adds():
    """Properties, options, shares, reasons."""
    subscriber, publisher = Client("s", mqtt.MQTTv5), Client("p", mqtt.MQTTv5)
    subscriber.subscribe("Dog/v5", 1, noLocal=True)
    subscriber.publish("Dog/v5", "own", 1)
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic, properties.CorrelationData = "Dog/answer", b"\x07"
    properties.UserProperty, properties.ContentType = ("who", "me"), "text/plain"
    properties.MessageExpiryInterval = 60
    publisher.publish("Dog/v5", "x", 1, properties=properties)
    message = subscriber.next()
    found = message.properties
    check("no local", b"x", message.payload)
    check(
        "properties",
        ("Dog/answer", b"\x07", [("who", "me")], "text/plain"),
        (found.ResponseTopic, found.CorrelationData, found.UserProperty, found.ContentType),
    )
    check("expiry", True, found.MessageExpiryInterval <= 60)
    shared = [Client(f"shared-{number}", mqtt.MQTTv5) for number in range(2)]
    for client in shared:
        check("a share", [1], client.subscribe("$share/group/Dog/shared", 1))
    for number in range(20):
        publisher.publish("Dog/shared", str(number), 1)
    taken = [payload for client in shared for payload in client.rest()]
    check("each message once", sorted(map(str, range(20))), sorted(taken))
    for client in [subscriber, publisher, *shared]:
        client.leave()


for protocol in (mqtt.MQTTv311, mqtt.MQTTv5):
    same_in_both_versions(protocol)
what_mqtt_5_adds()
print(f"{checks} checks")
